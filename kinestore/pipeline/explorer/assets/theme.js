import { byId } from "./dom.js";

/** Light or dark as the system has it, until the button says otherwise; changed(dark) on each. */
export function startTheme(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light theme" : "Dark theme";
    changed(dark);
  };
  system.addEventListener("change", () => apply(system.matches));
  byId("theme").addEventListener("click", () =>
    apply(document.documentElement.dataset.theme !== "dark"),
  );
  apply(system.matches);
}
