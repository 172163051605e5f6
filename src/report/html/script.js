// Finds and opens tasks. The page can be read without it.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const section = byId("tasks");
  const form = byId("finder");

  // A link to a task or a gate shows it, also where the finder has hidden it, and opens it. Ids are plain, so that the
  // fragment needs no decoding.
  const openTarget = () => {
    const target = byId(location.hash.slice(1));
    if (!target || !target.matches(".task, .gate")) return;
    target.hidden = false;
    const chunk = target.closest(".chunk");
    if (chunk) chunk.hidden = false;
    let line = target;
    if (target.tagName === "DETAILS") {
      target.open = true;
      line = target.firstElementChild;
    } else {
      target.tabIndex = -1;
    }
    target.scrollIntoView();
    line.focus();
  };
  addEventListener("hashchange", openTarget);
  // The same link once more changes no fragment.
  addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.getAttribute("href") === location.hash) openTarget();
  });
  openTarget();
  if (!section || !form) return;

  form.hidden = false;
  byId("keys").hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());

  // A task that opens has a line that can be clicked; another one is a line.
  const focusable = (task) => (task.tagName === "DETAILS" ? task.firstElementChild : task);
  const chunks = Array.from(section.querySelectorAll(".chunk"));
  const boxes = Array.from(form.querySelectorAll("input[type=checkbox]"));
  const field = byId("find");
  const found = byId("found");
  let round = 0;

  // Chunk by chunk, a few at a time, so that typing is never held up.
  const inSlices = (each, done) => {
    const mine = ++round;
    let next = 0;
    const slice = () => {
      if (mine !== round) return;
      const until = performance.now() + 12;
      while (next < chunks.length && performance.now() < until) each(chunks[next++]);
      if (next < chunks.length) setTimeout(slice);
      else if (done) done();
    };
    slice();
  };

  const search = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const standings = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    inSlices(
      (chunk) => {
        let any = false;
        for (const task of chunk.children) {
          const line = focusable(task);
          const text = words.length ? line.textContent.toLowerCase() : "";
          const fits = standings.has(task.dataset.standing) && words.every((word) => text.includes(word));
          task.hidden = !fits;
          any = any || fits;
          shown += fits ? 1 : 0;
        }
        chunk.hidden = !any;
      },
      () => { found.textContent = shown === 1 ? "1 task" : shown + " tasks"; },
    );
  };
  field.addEventListener("input", search);
  for (const box of boxes) box.addEventListener("change", search);

  const open = (yes) => inSlices((chunk) => {
    for (const task of chunk.children) if (task.tagName === "DETAILS" && !task.hidden) task.open = yes;
  });
  byId("openall").addEventListener("click", () => open(true));
  byId("closeall").addEventListener("click", () => open(false));

  // Keys act only while the focus is on a task.
  const neighbour = (task, step) => {
    let at = task;
    for (;;) {
      let next = step > 0 ? at.nextElementSibling : at.previousElementSibling;
      if (!next) {
        let chunk = at.parentElement;
        do chunk = step > 0 ? chunk.nextElementSibling : chunk.previousElementSibling;
        while (chunk && (chunk.hidden || !chunk.classList.contains("chunk")));
        if (!chunk) return null;
        next = step > 0 ? chunk.firstElementChild : chunk.lastElementChild;
      }
      if (!next.hidden) return next;
      at = next;
    }
  };
  section.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const task = event.target.closest(".task");
    if (!task || event.target !== focusable(task)) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      const next = neighbour(task, step);
      if (next) {
        if (next.tagName !== "DETAILS") next.tabIndex = -1;
        focusable(next).focus();
      }
      event.preventDefault();
    } else if (event.key === "/") {
      field.focus();
      event.preventDefault();
    }
  });
})();
