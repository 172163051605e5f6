//! The budget: what was used and set aside over time, against the limits. A report flows in, one small drawing for
//! each resource flows out, with the same in words above it.

use super::super::format::{amount, duration, usd};
use super::super::model::{AmountBudget, Report};
use super::super::model_measure::CurvePoint;
use super::chart::{Axis, amounts};
use super::markup::{Markup, aside};

const WIDTH: u32 = 480;
const HEIGHT: u32 = 170;
const LEFT: u32 = 62;
const TOP: u32 = 14;
const BOTTOM: u32 = 24;
/// A limit so many times as high as what was used stands above the drawing: beside it, the curve would be a line.
const FAR: u64 = 5;

/// A resource, and how to read it off a point of the curve.
struct Resource {
    name: &'static str,
    show: fn(u64) -> String,
    used: fn(&CurvePoint) -> u64,
    reserved: fn(&CurvePoint) -> u64,
}

const RESOURCES: [Resource; 3] = [
    Resource { name: "Tokens", show: amount, used: |p| p.tokens, reserved: |p| p.reserved_tokens },
    Resource { name: "Cost", show: usd, used: |p| p.cost_microusd, reserved: |p| p.reserved_cost_microusd },
    Resource { name: "API calls", show: amount, used: |p| p.api_calls, reserved: |p| p.reserved_api_calls },
];

/// Time as a bar, everything else as a curve.
pub(super) fn budget(report: &Report) -> Markup {
    let budget = &report.budget;
    let of = [&budget.tokens, &budget.cost_microusd, &budget.api_calls];
    let figures: Markup = RESOURCES.iter().zip(of).map(|(resource, amount)| figure(report, resource, amount)).collect();
    let mut all = legend();
    all.push(&Markup::raw("<div class=\"figures\">"));
    all.push(&time(report));
    all.push(&figures);
    all.push(&Markup::raw("</div>\n"));
    if let Some(stop) = &budget.stopped_by {
        let words = format!("The limit on {} stopped the run.", stop.resource);
        all = [Markup::raw(format!("<p><strong>{words}</strong></p>\n")), all].into_iter().collect();
    }
    all.push(&aside(source(report)));
    all
}

/// What the colours and lines mean.
fn legend() -> Markup {
    let entry = |class: &str, sign: &str, words: &str| {
        format!("<li><span class=\"key {class}\" aria-hidden=\"true\">{sign}</span> {words}</li>")
    };
    let entries = [
        entry("usedkey", "\u{a0}", "used"),
        entry("asidekey", "\u{a0}", "set aside for running attempts"),
        entry("limitkey", "┅", "limit"),
    ];
    Markup::raw(format!("<ul class=\"legend\" aria-label=\"Legend\">{}</ul>\n", entries.concat()))
}

/// Who counted, and what is not known for certain.
fn source(report: &Report) -> String {
    let budget = &report.budget;
    let mut words = match budget.source.as_str() {
        "gateway" => "Counted by the gateway in the responses of the model API.".to_owned(),
        "reported" => "What the agents reported; nobody else counted.".to_owned(),
        "partial" => "Some attempts reported nothing: a lower bound.".to_owned(),
        _ if budget.tokens.used.is_some() => "No agent is known to have called a model.".to_owned(),
        _ => "No agent reported what it used.".to_owned(),
    };
    if budget.estimated_tokens > 0 {
        let tokens = amount(budget.estimated_tokens);
        words.push_str(&format!(" {tokens} of the tokens are the worst case of calls whose usage never came."));
    }
    if budget.unpriced_calls > 0 {
        words.push_str(&format!(" The cost lacks {} calls whose price is not known.", budget.unpriced_calls));
    }
    words
}

fn time(report: &Report) -> Markup {
    let budget = &report.budget.duration;
    let Some(limit) = budget.limit_ms.filter(|limit| *limit > 0) else {
        return Markup::raw(format!(
            "<figure><figcaption><b>Time</b> {} used, no limit</figcaption></figure>",
            duration(budget.used_ms)
        ));
    };
    let axis = Axis { max: limit.max(budget.used_ms), from: 0, length: WIDTH };
    let (used, end) = (axis.at(budget.used_ms).max(2), axis.at(limit));
    let over = if budget.used_ms > limit { " over" } else { "" };
    Markup::raw(format!(
        "<figure><figcaption><b>Time</b> {} of {} used{}</figcaption>\
         <svg viewBox=\"0 0 {WIDTH} 26\" role=\"img\" aria-label=\"Time used, of its limit\">\
         <rect class=\"track\" x=\"0\" y=\"4\" width=\"{WIDTH}\" height=\"16\" rx=\"3\"/>\
         <rect class=\"used{over}\" x=\"0\" y=\"4\" width=\"{used}\" height=\"16\" rx=\"3\"/>\
         <line class=\"limit\" x1=\"{end}\" y1=\"0\" x2=\"{end}\" y2=\"24\"/></svg></figure>\n",
        duration(budget.used_ms),
        duration(limit),
        percent(budget.used_ms, limit),
    ))
}

fn percent(used: u64, limit: u64) -> String {
    let share = u128::from(used) * 100 / u128::from(limit.max(1));
    format!(" ({share} %)")
}

fn caption(resource: &Resource, amount: &AmountBudget) -> String {
    let used = amount.used_in_words(resource.show);
    let limit = amount.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {}", (resource.show)(limit)));
    let share = amount.used.zip(amount.limit).map(|(used, limit)| percent(used, limit)).unwrap_or_default();
    let aside = match amount.reserved {
        0 => String::new(),
        n => format!(", {} set aside", (resource.show)(n)),
    };
    format!("<b>{}</b> {used} used{share}{aside}, {limit}", resource.name)
}

fn figure(report: &Report, resource: &Resource, amount: &AmountBudget) -> Markup {
    let caption = caption(resource, amount);
    let points = &report.budget.curve;
    let total = |p: &CurvePoint| (resource.used)(p).saturating_add((resource.reserved)(p));
    let peak = points.iter().map(total).max().unwrap_or(0);
    let drawing = if peak == 0 || points.len() < 2 { String::new() } else { curve(report, resource, amount, peak) };
    Markup::raw(format!("<figure><figcaption>{caption}</figcaption>{drawing}</figure>\n"))
}

fn curve(report: &Report, resource: &Resource, amount: &AmountBudget, peak: u64) -> String {
    let near = amount.limit.filter(|limit| *limit <= peak.saturating_mul(FAR));
    let max = near.map_or(peak, |limit| limit.max(peak));
    let max = max.saturating_add(max / 12).max(1);
    let up = Axis { max, from: TOP, length: HEIGHT - TOP - BOTTOM };
    let along = Axis { max: report.timing.elapsed_ms.max(1), from: LEFT, length: WIDTH - LEFT - 8 };
    let points = &report.budget.curve;
    let used = |p: &CurvePoint| (resource.used)(p);
    let total = |p: &CurvePoint| (resource.used)(p).saturating_add((resource.reserved)(p));
    let (floor, right) = (up.up(0), WIDTH - 8);
    let used_line = steps(points, &along, &up, used);
    let limit = match (near, amount.limit) {
        (Some(limit), _) => limit_line(up.up(limit), right, &(resource.show)(limit)),
        (None, Some(limit)) => far_limit(right, &(resource.show)(limit)),
        (None, None) => String::new(),
    };
    let scale: String = amounts(max).into_iter().map(|n| grid(up.up(n), right, &(resource.show)(n))).collect();
    let times: Vec<(u32, String)> = along.times();
    let every = times.len().div_ceil(5);
    let ticks: String = times.iter().step_by(every).map(|(x, words)| tick(*x, words)).collect();
    format!(
        "<svg class=\"curve\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} over time\">{scale}{ticks}\
         <path class=\"reserved\" d=\"{} V{floor} H{LEFT} Z\"/>\
         <path class=\"area\" d=\"{used_line} V{floor} H{LEFT} Z\"/>\
         <path class=\"line\" d=\"{used_line}\"/>{limit}</svg>",
        resource.name,
        steps(points, &along, &up, total),
    )
}

/// What is used stays used until more is: a line of steps.
fn steps(points: &[CurvePoint], along: &Axis, up: &Axis, of: impl Fn(&CurvePoint) -> u64) -> String {
    let mut path = String::new();
    let mut last = None;
    for point in points {
        let (x, y) = (along.at(point.elapsed_ms), up.up(of(point)));
        match last {
            None => path.push_str(&format!("M{x} {y}")),
            Some((_, before)) if before == y => {}
            Some(_) => path.push_str(&format!("H{x}V{y}")),
        }
        last = Some((x, y));
    }
    if let Some((x, _)) = last {
        path.push_str(&format!("H{x}"));
    }
    path
}

fn grid(y: u32, right: u32, words: &str) -> String {
    format!(
        "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\"/>\
         <text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{words}</text>",
        LEFT - 6,
        y + 4
    )
}

fn tick(x: u32, words: &str) -> String {
    let anchor = if x + 30 > WIDTH { "end" } else { "middle" };
    format!("<text class=\"tick\" x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{words}</text>", HEIGHT - 6)
}

fn limit_line(y: u32, right: u32, words: &str) -> String {
    format!(
        "<line class=\"limit\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\"/>\
         <text class=\"limitname\" x=\"{right}\" y=\"{}\" text-anchor=\"end\">limit {words}</text>",
        y.saturating_sub(4).max(10)
    )
}

fn far_limit(right: u32, words: &str) -> String {
    format!("<text class=\"limitname\" x=\"{right}\" y=\"11\" text-anchor=\"end\">limit {words}, far above ↑</text>")
}
