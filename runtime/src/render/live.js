"use strict";
// Asks /api/live once a second and listens to /api/events; texts from the run never become markup.
const token = new URLSearchParams(location.search).get("token") ?? "";
const ask = (path) => `${path}?token=${encodeURIComponent(token)}`;
const phases = ["initialization", "service_deployment", "monitoring_setup", "client_launch", "execution", "teardown", "report"];
const byId = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};
const digits = (value) => value == null || !isFinite(value) ? "–"
  : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value === 0 ? "0" : Number(value).toPrecision(3);
const seconds = (value) => value == null ? "–" : value === 0 ? "0 s" : value < 1e-3 ? `${digits(value * 1e6)} µs`
  : value < 1 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`;
const sum = (counts) => Object.values(counts ?? {}).reduce((all, count) => all + count, 0);

let phase = null;
const showPhases = () => {
  const now = phases.indexOf(phase);
  byId("phases").replaceChildren(...phases.map((name, place) => {
    const item = make("li", place < now ? "done" : place === now ? "now" : "", name.replaceAll("_", " "));
    if (place === now) item.setAttribute("aria-current", "step");
    return item;
  }));
};
const tile = ([name, value, note]) => {
  const box = make("div", "tile"), figure = make("dd", "", value);
  figure.append(make("small", "", note));
  box.append(make("dt", "", name), figure);
  return box;
};
const pick = (latency, ...names) => names.map((name) => latency?.[name]).find((value) => value != null);
const svg = (tag, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
const chart = (title, unit, format, timeline, lines) => {
  const figure = make("figure", "chart"), caption = make("figcaption");
  caption.append(make("b", "", title), " ", make("span", "unit", unit));
  const legend = make("span", "legend");
  if (lines.length > 1) for (const [name, className] of lines) legend.append(make("span", `key ${className}`, name));
  caption.append(legend);
  const drawing = svg("svg", { viewBox: "0 0 600 230", role: "img", "aria-label": `${title} over time` });
  const from = timeline[0]?.at ?? 0, to = Math.max(timeline.at(-1)?.at ?? 1, from + 1);
  const values = lines.flatMap(([, , get]) => timeline.map(get)).filter((value) => value != null);
  const most = Math.max(...values, 1e-9), power = 10 ** Math.floor(Math.log10(most));
  const top = [1, 2, 4, 5, 10].map((factor) => factor * power).find((level) => level >= most) ?? most;
  const x = (at) => 70 + (at - from) / (to - from) * 514, y = (value) => 200 - value / top * 186;
  for (const level of [0, top / 2, top]) {
    drawing.append(svg("path", { class: level ? "grid" : "axis", d: `M70 ${y(level)}H584` }));
    const text = svg("text", { class: "y", x: 62, y: y(level) + 4 });
    text.textContent = format(level);
    drawing.append(text);
  }
  for (const at of [from, to]) {
    const text = svg("text", { class: "x", x: x(at), y: 222 });
    text.textContent = `${at} s`;
    drawing.append(text);
  }
  for (const [, className, get] of [...lines].reverse()) {
    let data = "", isDown = false;
    for (const second of timeline) {
      const value = get(second);
      if (value != null) data += `${isDown ? "L" : "M"}${x(second.at).toFixed(1)} ${y(value).toFixed(1)}`;
      isDown = value != null;
    }
    drawing.append(svg("path", { class: `line ${className}`, d: data }));
  }
  figure.append(caption, drawing);
  return figure;
};
const show = (live) => {
  const [number, of] = live.position ?? [0, 0];
  byId("trial").textContent = live.trial ? `Trial ${number} of ${of}: ${live.trial}, ${Math.floor(live.elapsed_seconds)} s since its start` : "No trial is under way.";
  const latency = live.latency ?? {}, parts = live.accounting ?? {};
  byId("tiles").replaceChildren(...[
    ["Output throughput", digits(live.output_tokens_per_second), "tokens/s, last second"],
    ["Requests", digits(live.requests_per_second), "completed/s, last second"],
    ["In flight", (live.in_flight ?? 0).toLocaleString("en"), "requests"],
    ["Time to first token", seconds(pick(latency, "ttft_p50", "ttft_seconds_p50")), "median so far"],
    ["Time to first token", seconds(pick(latency, "ttft_p99", "ttft_seconds_p99")), "99th percentile so far"],
    ["Whole answer", seconds(pick(latency, "e2el_p99", "e2el_seconds_p99")), "99th percentile so far"],
  ].map(tile));
  const terms = [["completed", "done", parts.completed ?? 0], ["failed", "failed", sum(parts.failed)], ["timed out", "late", parts.timed_out ?? 0],
    ["cancelled", "given-up", parts.cancelled ?? 0], ["dropped", "unsent", sum(parts.dropped)], ["lost", "gone", parts.lost ?? 0]]
    .filter(([name, , count]) => count > 0 || name === "completed");
  byId("bar").replaceChildren(...terms.map(([, className, count]) => { const part = make("span", className); part.style.flexGrow = count; return part; }));
  const line = byId("sum");
  line.replaceChildren(make("b", "", `${(parts.due ?? 0).toLocaleString("en")} due so far`), ", of these ");
  terms.forEach(([name, className, count], place) => line.append(place ? " + " : "", make("span", `term ${className}`, `${count.toLocaleString("en")} ${name}`)));
  const timeline = live.timeline ?? [];
  byId("charts").replaceChildren(
    chart("Output", "tokens per second", digits, timeline, [["output", "c1", (s) => s.output_tokens]]),
    chart("Requests", "per second", digits, timeline, [["completed", "c1", (s) => s.completed], ["sent", "c3", (s) => s.sent], ["not completed", "c2", (s) => s.failed]]),
    chart("Time to first token", "", seconds, timeline, [["p50", "c1", (s) => s.ttft_p50], ["p99", "c2", (s) => s.ttft_p99]]),
    chart("In flight", "requests", digits, timeline, [["in flight", "c3", (s) => s.in_flight]]));
  byId("nodes").replaceChildren(...Object.entries(live.nodes ?? {}).map(([name, node]) => {
    const row = make("tr");
    row.append(make("th", "", name), ...[node.is_running ? "running" : "idle", node.in_flight, node.requests_total, node.errors_total, node.output_tokens_total]
      .map((value) => make("td", "", typeof value === "number" ? value.toLocaleString("en") : value)));
    return row;
  }));
};
const told = (event) => {
  const happened = event.happened ?? {};
  if (happened.event === "phase_entered") { phase = happened.phase; showPhases(); }
  const item = make("li"), rest = { ...happened };
  delete rest.event;
  const when = new Date(Number(event.unix_nanos) / 1e6);
  item.append(make("span", "figure", isNaN(when) ? "" : when.toISOString().slice(11, 19)), " ",
    make("b", "", String(happened.event ?? "").replaceAll("_", " ")), " ", Object.keys(rest).length ? JSON.stringify(rest) : "");
  const list = byId("events");
  list.prepend(item);
  while (list.childElementCount > 200) list.lastChild.remove();
};
const state = (text, isStale) => { byId("state").textContent = text; byId("state").className = isStale ? "stale" : ""; };
const poll = async () => {
  try {
    const answer = await fetch(ask("/api/live"), { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.status === 401 ? "the token is wrong" : `status ${answer.status}`);
    show(await answer.json());
    state("up to date", false);
  } catch (error) {
    state(`the leader does not answer (${error.message}); the figures below are old`, true);
  }
  setTimeout(poll, 1000);
};
showPhases();
new EventSource(ask("/api/events")).addEventListener("message", (message) => told(JSON.parse(message.data)));
poll();
