import { ClipList } from "./cliplist.js";
import { readClips } from "./clips.js";
import { byId, counted, make } from "./dom.js";
import { csv, download } from "./exporting.js";
import { Filters } from "./filters.js";
import { Legend } from "./legend.js";
import { ClipMap } from "./map.js";
import { startTheme } from "./theme.js";
import { card, details } from "./clip_info.js";

const HINT = "Click a point, or walk through the list below with the arrow keys.";

const clips = readClips();
const filters = new Filters(clips);
const selected = new Set();
const state = { column: clips.color, dark: false, rows: new Uint32Array(0), chosen: -1 };

const map = new ClipMap(clips, { hovered: hover, chosen: choose, lassoed: select });
const list = new ClipList(clips, selected, { chosen: choose, toggled: toggle });
const legend = new Legend(clips, filters, narrow);

/** Show what the filters let through. */
function narrow() {
  const { rows, counts } = filters.apply({ selected, column: state.column });
  state.rows = rows;
  map.show(rows);
  list.show(rows, state.chosen);
  legend.count(counts);
  hover(-1);
  markNear();
  byId("count").textContent = `${counted(rows.length)} of ${counted(clips.num)} clips`;
  byId("empty").hidden = rows.length > 0;
  byId("select-shown").disabled = rows.length === 0;
  byId("chips").replaceChildren(...chips());
}

/** Color by the column, or in the theme, that is set. */
function paint() {
  const { column, dark } = state;
  map.paint({ column, dark, selected });
}

/** A button for each filter of names and for the search, which takes it away. */
function chips() {
  const found = clips.columns.flatMap(({ name, names }, column) => {
    const kept = filters.numKept(column);
    if (kept === names.length) return [];
    const alone = kept === 1 && (names[filters.hidden[column].indexOf(0)] ?? `(no ${name})`);
    const text = `${name}: ${kept === 1 ? alone : `${counted(kept)} of ${counted(names.length)}`}`;
    return [chip(text, () => filters.hidden[column].fill(0))];
  });
  if (filters.search.trim()) found.push(chip(`search: ${filters.search}`, clearSearch));
  return found;
}

function chip(text, remove) {
  const button = make("button", { type: "button", title: "Remove this filter" });
  button.append(make("bdi", { text }), " ×");
  button.addEventListener("click", () => {
    remove();
    narrow();
    byId("search").focus();
  });
  return make("li", {}, button);
}

function clearSearch() {
  filters.search = byId("search").value = "";
}

/** Show the clip under the pointer; -1 for none. */
function hover(row) {
  const box = byId("card");
  map.mark({ hovered: row });
  box.hidden = row < 0;
  if (row < 0) return;
  box.replaceChildren(...card(clips, row));
  const [left, top] = map.view.place(row);
  const right = left + 16 + box.offsetWidth > map.view.width;
  box.style.left = `${Math.max(4, right ? left - 16 - box.offsetWidth : left + 16)}px`;
  const low = Math.min(top + 12, map.view.height - box.offsetHeight - 4);
  box.style.top = `${Math.max(4, low)}px`;
}

/** Show all of a clip and of its neighbors; -1 for none. */
function choose(row) {
  state.chosen = row;
  if (row >= 0) map.view.reveal(row);
  const shown = row < 0 ? [make("p", { class: "hint", text: HINT })] : details(clips, row, choose);
  byId("detail").replaceChildren(...shown);
  byId("detail").scrollTop = 0;
  list.choose(row); // the list may have become shorter
  markNear();
}

function markNear() {
  const { chosen, rows } = state;
  if (chosen < 0) return map.mark({ chosen, near: [] });
  const shown = new Set(rows);
  map.mark({ chosen, near: [...clips.neighbors(chosen)].filter((row) => shown.has(row)) });
}

/** Select these rows and no others. */
function select(rows) {
  selected.clear();
  for (const row of rows) selected.add(row);
  selectionChanged();
}

function toggle(row) {
  if (!selected.delete(row)) selected.add(row);
  selectionChanged();
}

function selectionChanged() {
  const none = selected.size === 0;
  byId("selected").textContent = none ? "" : `${counted(selected.size)} selected`;
  byId("export").disabled = byId("clear").disabled = byId("selected-only").disabled = none;
  if (none) byId("selected-only").checked = filters.selectedOnly = false;
  paint();
  narrow();
}

/** Choose and select nothing, and lasso nothing. */
function clear() {
  map.mark({ lasso: [] });
  choose(-1);
  select([]);
}

function colorBy(column) {
  state.column = column;
  legend.show(column, state.dark);
  paint();
  narrow();
}

function listen() {
  byId("search").addEventListener("input", () => {
    filters.search = byId("search").value;
    narrow();
  });
  for (const [id, name] of [
    ["wrong-only", "wrongOnly"],
    ["selected-only", "selectedOnly"],
  ]) {
    byId(id).addEventListener("change", () => {
      filters[name] = byId(id).checked;
      narrow();
    });
  }
  byId("color").addEventListener("change", () => colorBy(Number(byId("color").value)));
  byId("select-shown").addEventListener("click", () => select(state.rows));
  byId("export").addEventListener("click", () =>
    download(
      csv(
        clips,
        [...selected].sort((a, b) => a - b),
      ),
      "clips.csv",
    ),
  );
  byId("clear").addEventListener("click", clear);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") clear();
    if (event.key !== "/" || event.target.matches("input")) return;
    event.preventDefault();
    byId("search").focus();
  });
}

/** What depends on the clips, and no more on anything that changes. */
function setUp() {
  const wrong = Array.from({ length: clips.num }, (_, row) => row).filter(clips.isWrong);
  byId("wrong-only-label").hidden = byId("ring-key").hidden = !clips.scored;
  byId("ring-key").textContent =
    wrong.length === 0
      ? "No prediction differs from its label."
      : `◯ A ring marks a clip whose prediction differs from its label: ${counted(wrong.length)}.`;
  byId("overlay").setAttribute(
    "aria-label",
    `Map of ${counted(clips.num)} clips: arrow keys move it, plus and minus zoom, 0 shows all`,
  );
  byId("color").append(
    ...clips.columns.map(({ name }, column) => make("option", { value: column, text: name })),
  );
  byId("color").value = state.column;
}

setUp();
listen();
startTheme((dark) => {
  state.dark = dark;
  legend.show(state.column, dark);
  paint();
});
choose(-1);
selectionChanged();
// For scripts and tests: what is drawn, and where on the page.
window.explorer = {
  clips,
  selected,
  rows: () => state.rows,
  chosen: () => state.chosen,
  place: (row) => {
    const [left, top] = map.view.place(row);
    const box = byId("overlay").getBoundingClientRect();
    return [left + box.left, top + box.top];
  },
};
