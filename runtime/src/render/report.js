"use strict";
// The page is complete without this: it adds values under the pointer, sorting, and unfolding.
for (const svg of document.querySelectorAll("svg[data-chart]")) {
  const chart = JSON.parse(svg.dataset.chart), figure = svg.closest("figure");
  const [left, right] = chart.x, [below, above] = chart.y;
  let cursor = null, box = null;
  const hide = () => { if (cursor) { cursor.remove(); box.remove(); cursor = box = null; } };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
    const at = ((event.clientX - frame.left) / frame.width * width - left) / (right - left) * chart.end;
    let near = 0;
    chart.times.forEach((time, place) => { if (Math.abs(time - at) < Math.abs(chart.times[near] - at)) near = place; });
    const x = left + chart.times[near] / chart.end * (right - left);
    if (!cursor) {
      cursor = document.createElementNS("http://www.w3.org/2000/svg", "path");
      cursor.setAttribute("class", "cursor");
      box = document.createElement("div");
      box.className = "read-out";
      svg.append(cursor); figure.append(box);
    }
    cursor.setAttribute("d", `M${x} ${above}V${below}`);
    const lines = chart.series.map((series) => `${series.name}: ${series.values[near] ?? "–"}`);
    box.textContent = "";
    for (const line of [`at ${Math.floor(chart.times[near])} s`, ...lines]) {
      const row = document.createElement("div");
      row.textContent = line;
      box.append(row);
    }
    const place = frame.left - figure.getBoundingClientRect().left + x / width * frame.width;
    box.style.left = Math.max(4, Math.min(place + 12, figure.clientWidth - box.offsetWidth - 8)) + "px";
  });
}
for (const table of document.querySelectorAll("table.sort")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const value = (row) => {
        const cell = row.cells[column], held = cell.querySelector("[data-value]");
        return held ? Number(held.dataset.value) : cell.textContent;
      };
      const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      [...body.rows].sort((a, b) => (falling ? -1 : 1) * compare(value(a), value(b))).forEach((row) => body.append(row));
    });
  });
}
const reveal = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", reveal);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
reveal();
