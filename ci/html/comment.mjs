// Takes pictures of a comment as a forge shows it, light and dark: the Markdown of a run, made into HTML by `marked`,
// in a style of our own that looks like a pull request.
//
// Usage: node comment.mjs MODULES CHROMIUM COMMENT.md SHOTS
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const [modules, executablePath, comment, shots] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), "node_modules/"));
const { chromium } = require("playwright-core");
const { marked } = require("marked");

const style = `
:root { --ground: #fff; --ink: #1f2328; --dim: #59636e; --rule: #d1d9e0; --soft: #f6f8fa; --link: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --ink: #f0f6fc; --dim: #9198a1; --rule: #3d444d; --soft: #151b23; --link: #4493f8; }
}
body { margin: 0; padding: 16px; background: var(--ground); color: var(--ink); width: 860px; box-sizing: border-box;
  font: 14px/1.5 "Liberation Sans", Arial, sans-serif; }
article { border: 1px solid var(--rule); border-radius: 6px; overflow: hidden; }
header { background: var(--soft); border-bottom: 1px solid var(--rule); padding: 8px 16px; color: var(--dim); }
header b { color: var(--ink); }
main { padding: 16px; overflow-wrap: anywhere; }
main > :first-child { margin-top: 0; } main > :last-child { margin-bottom: 0; }
h2, h3, h4 { margin: 20px 0 12px; line-height: 1.25; }
h2 { font-size: 1.5em; padding-bottom: .3em; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1.25em; } h4 { font-size: 1em; }
p, ul, ol, table, details, pre { margin: 0 0 14px; }
a { color: var(--link); text-decoration: none; }
table { border-collapse: collapse; display: block; overflow: auto; }
th, td { border: 1px solid var(--rule); padding: 5px 12px; text-align: left; }
tr:nth-child(2n) { background: var(--soft); }
code { background: var(--soft); border-radius: 6px; padding: .15em .4em; font: 85% "Liberation Mono", monospace; }
pre { background: var(--soft); border-radius: 6px; padding: 12px; overflow: auto; } pre code { padding: 0; }`;
// The two signs that fonts of a server lack.
const sign = (path, fill) => `<svg width="15" height="15" viewBox="0 0 16 16" style="vertical-align: -2px" fill="none" stroke-width="2.4">
  <rect width="16" height="16" rx="3" fill="${fill}"/><path d="${path}" stroke="#fff"/></svg>`;
const body = marked.parse(readFileSync(comment, "utf8"), { gfm: true, async: false })
  .replaceAll("❌", sign("M4 4l8 8M12 4l-8 8", "#cf222e")).replaceAll("✅", sign("M3.5 8.5l3 3 6-7", "#1a7f37"));
const html = `<!doctype html><meta charset="utf-8"><style>${style}</style>
<article><header><b>maestro-ci</b> commented</header><main>${body}</main></article>`;

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--hide-scrollbars"] });
for (const colorScheme of ["light", "dark"]) {
  const context = await browser.newContext({ viewport: { width: 860, height: 600 }, colorScheme, javaScriptEnabled: false });
  const page = await context.newPage();
  await page.route("**/*", (route) => route.abort());
  await page.setContent(html);
  await page.screenshot({ path: join(shots, `comment-${colorScheme}.png`), fullPage: true });
  await context.close();
}
await browser.close();
