/** Rows as CSV (RFC 4180): clip_id, label, file. */
// A spreadsheet would run a text that starts like a formula: it gets an apostrophe.
export function csv(clips, rows) {
  const lines = [["clip_id", "label", "file"]];
  for (const row of rows) lines.push([clips.clipId(row), clips.label(row) ?? "", clips.uri(row)]);
  return lines.map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
}

const FORMULA = /^'*[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]/;

function quoted(text) {
  const field = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

/** Hand a text to the browser as a file. */
export function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
