"use strict";
(() => {
  const shots = [...document.querySelectorAll("button.shot")];
  const changed = new Map(); // row -> { keep, class } as it is now, where it differs from the file
  const original = new Map(shots.map((shot) => [shot.dataset.row, { keep: shot.getAttribute("aria-pressed"), class: shot.dataset.class }]));
  const now = (shot) => changed.get(shot.dataset.row) ?? original.get(shot.dataset.row);

  function set(shot, values) {
    const row = shot.dataset.row, first = original.get(row), next = { ...now(shot), ...values };
    if (next.keep === first.keep && next.class === first.class) changed.delete(row);
    else changed.set(row, next);
    shot.setAttribute("aria-pressed", next.keep);
    const given = shot.parentElement.querySelector(".given");
    given.hidden = next.class === first.class;
    given.textContent = given.hidden ? "" : `now ${next.class}`;
    const count = changed.size;
    document.getElementById("changes").textContent = count ? `${count} ${count === 1 ? "change" : "changes"}, not saved yet` : "No changes";
  }

  // The records of a CSV as they are written, each with its line end: a quoted field may hold line ends and commas.
  function records(text) {
    const found = [];
    let start = 0, quoted = false;
    for (let at = 0; at < text.length; at++) {
      if (text[at] === '"') quoted = !quoted;
      else if (text[at] === "\n" && !quoted) { found.push(text.slice(start, at + 1)); start = at + 1; }
    }
    if (start < text.length) found.push(text.slice(start));
    return found;
  }

  function fields(record) {
    const found = [];
    let start = 0, quoted = false;
    const end = record.replace(/\n$/, "").length;
    for (let at = 0; at <= end; at++) {
      if (record[at] === '"' && at < end) quoted = !quoted;
      else if (at === end || record[at] === "," && !quoted) { found.push(record.slice(start, at)); start = at + 1; }
    }
    return found;
  }

  const written = (text) => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

  async function unpacked() {
    const bytes = Uint8Array.from(atob(document.getElementById("manifest").textContent.trim()), (char) => char.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  async function save() {
    const [head, ...rows] = records(await unpacked());
    const names = fields(head), keep = names.indexOf("keep"), label = names.indexOf("class");
    for (const [row, values] of changed) {
      const cells = fields(rows[Number(row)]);
      cells[keep] = values.keep;
      cells[label] = written(values.class);
      rows[Number(row)] = cells.join(",") + "\n";
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([head, ...rows], { type: "text/csv" }));
    link.download = "manifest.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    const count = changed.size;
    document.getElementById("changes").textContent = `Saved with ${count} ${count === 1 ? "change" : "changes"}`;
  }

  const visible = () => shots.filter((shot) => shot.offsetParent !== null);

  function focus(shot) {
    if (!shot) return;
    shots.forEach((other) => { other.tabIndex = -1; });
    shot.tabIndex = 0;
    shot.focus();
    shot.scrollIntoView({ block: "nearest" });
  }

  // The image above or below: in the nearest row of the page, the one whose left edge is nearest.
  function vertical(shot, down) {
    const from = shot.getBoundingClientRect();
    const boxes = visible().map((other) => ({ other, box: other.getBoundingClientRect() }))
      .filter(({ box }) => down ? box.top > from.top + 1 : box.top < from.top - 1);
    if (!boxes.length) return null;
    const gap = ({ box }) => Math.abs(box.top - from.top), nearest = Math.min(...boxes.map(gap));
    return boxes.filter((each) => gap(each) < nearest + 4)
      .sort((a, b) => Math.abs(a.box.left - from.left) - Math.abs(b.box.left - from.left))[0].other;
  }

  document.addEventListener("click", (event) => {
    const shot = event.target.closest?.("button.shot");
    if (!shot) return;
    set(shot, { keep: now(shot).keep === "true" ? "false" : "true" });
    focus(shot);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
    if (event.key === "s") { event.preventDefault(); save(); return; }
    const shot = event.target.closest?.("button.shot");
    if (!shot) return;
    const all = visible(), at = all.indexOf(shot);
    const actions = {
      ArrowRight: () => focus(all[at + 1]), ArrowLeft: () => focus(all[at - 1]),
      ArrowDown: () => focus(vertical(shot, true)), ArrowUp: () => focus(vertical(shot, false)),
      Home: () => focus(all[0]), End: () => focus(all[all.length - 1]),
      k: () => set(shot, { keep: "true" }), x: () => set(shot, { keep: "false" }),
      c: () => {
        if (!shot.dataset.suggested) return;
        set(shot, { class: now(shot).class === shot.dataset.suggested ? shot.dataset.class : shot.dataset.suggested });
      },
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });

  document.getElementById("save").addEventListener("click", save);
  document.getElementById("only").addEventListener("change", (event) => {
    const word = event.target.value;
    document.querySelectorAll(".shots li").forEach((item) => { item.hidden = Boolean(word) && !(item.dataset.reasons ?? "").split(" ").includes(word); });
    document.querySelectorAll("section.class").forEach((section) => { section.hidden = Boolean(word) && !section.querySelector("li:not([hidden])"); });
  });
  addEventListener("beforeunload", (event) => { if (changed.size && !document.getElementById("changes").textContent.startsWith("Saved")) event.preventDefault(); });
  if (shots.length) shots[0].tabIndex = 0;
})();
