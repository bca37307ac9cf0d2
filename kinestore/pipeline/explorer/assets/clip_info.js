import { make } from "./dom.js";

/** A clip in short, for a line or a button: thumbnail, label, file, and whether it is an error. */
export function summary(clips, row) {
  return [
    clips.hasThumbnails && (picture(clips, row) ?? make("span", { class: "thumbnail" })),
    make(
      "span",
      { class: "info" },
      make("span", { class: "name", text: clips.label(row) ?? clips.file(row) }),
      make("span", { class: "file", text: clips.file(row) }),
    ),
    clips.isWrong(row) && make("span", { class: "wrong", text: `≠ ${clips.predicted(row)}` }),
  ].filter(Boolean);
}

/** What the card beside the pointer says. */
export function card(clips, row) {
  return [
    picture(clips, row),
    clips.caption(row) && make("p", { class: "caption", text: clips.caption(row) }),
    clips.label(row) !== null && make("p", { class: "label", text: clips.label(row) }),
    predicted(clips, row),
    make("p", { class: "file", text: clips.file(row) }),
  ].filter(Boolean);
}

/** All that is known of a clip; choose(row) is called when a neighbor is clicked. */
export function details(clips, row, choose) {
  const terms = clips.columns
    .filter(({ name }) => name !== "prediction" && name !== "outcome")
    .map(({ name, names, codes }) => [name, names[codes[row]]])
    .concat([
      ["file", clips.uri(row)],
      ["clip_id", clips.clipId(row)],
    ])
    .filter(([, value]) => value !== null)
    .flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]);
  return [
    picture(clips, row),
    make("h2", { text: clips.label(row) ?? clips.file(row) }),
    clips.caption(row) && make("p", { class: "caption", text: clips.caption(row) }),
    predicted(clips, row),
    make("dl", {}, ...terms),
    clips.hasNeighbors && make("h3", { text: "Nearest in the feature space" }),
    clips.hasNeighbors && neighborList(clips, row, choose),
  ].filter(Boolean);
}

function neighborList(clips, row, choose) {
  const items = [...clips.neighbors(row)].map((neighbor) => {
    const button = make("button", { type: "button" }, ...summary(clips, neighbor));
    button.addEventListener("click", () => choose(neighbor));
    return make("li", {}, button);
  });
  return make("ol", { class: "neighbors" }, ...items);
}

function picture(clips, row) {
  const source = clips.thumbnail(row);
  return source ? make("img", { class: "thumbnail", src: source, alt: "" }) : null;
}

function predicted(clips, row) {
  const name = clips.predicted(row);
  if (name === null) return null;
  const confidence = clips.confidence(row);
  const sure = confidence === null ? "" : ` (${Math.round(100 * confidence)}%)`;
  const wrong = clips.isWrong(row);
  const said = wrong ? "✕ wrong: predicted " : "predicted ";
  return make(
    "p",
    { class: wrong ? "predicted wrong" : "predicted" },
    said,
    make("bdi", { text: name }),
    sure,
  );
}
