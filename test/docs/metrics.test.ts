/** docs/operations/metrics.md and the dashboard say what /metrics tells: no name, type or label more or less. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { namesOf, parse } from "../support/metrics.ts";
import { useServer } from "../support/server.ts";
import { readPage, rowsOf } from "./pages.ts";

const server = useServer();
const text = async () => (await fetch(`${server.url}/metrics`)).text();
const rows = rowsOf(readPage("docs/operations/metrics.md")).map(
  ([name = "", type = "", labels = "", meaning = ""]) => ({
    name: name.replaceAll("`", ""),
    type,
    labels,
    meaning,
  }),
);
/** These are what the process runs on: some are there on Linux only, labels come with time. */
const isOfProcess = (name: string) => /^tributary_(process|nodejs)_/.test(name);

test("each metric has a row with its type and a meaning, and each row a metric", async () => {
  const scraped = await text();
  const types = [...scraped.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = "", type = ""]) => [
    name,
    type,
  ]);
  expect(types.length).toBeGreaterThan(50);
  const documented = new Map(rows.map(({ name, type }) => [name, type]));
  expect(documented.size).toBe(rows.length);
  for (const [name = "", type] of types) expect([name, documented.get(name)]).toEqual([name, type]);
  const names = namesOf(scraped);
  expect(rows.filter(({ name }) => !isOfProcess(name) && !names.includes(name))).toEqual([]);
  for (const { name, meaning } of rows) {
    expect(name).toMatch(/^tributary_[a-z0-9_]+$/);
    expect(meaning, name).not.toBe("");
  }
});

test("labels have the values of the page and no others, so that nobody can multiply them", async () => {
  const found = new Map<string, string[]>();
  for (const name of parse(await text()).keys()) {
    const [, metric = "", label, value = ""] = /^(\w+)(?:\{(\w+)="([^"]*)"\})?/.exec(name) ?? [];
    if (label === undefined || label === "le" || isOfProcess(metric)) continue;
    expect(name, "one label alone").toBe(`${metric}{${label}="${value}"}`);
    found.set(`${metric} ${label}`, [...(found.get(`${metric} ${label}`) ?? []), value]);
  }
  const documented = rows
    .filter(({ name, labels }) => labels !== "" && !isOfProcess(name))
    .map(({ name, labels }) => {
      const [label = "", ...values] = [...labels.matchAll(/`([^`]+)`/g)].map(([, word = ""]) => word);
      return [`${name} ${label}`, values.toSorted()] as const;
    });
  expect(new Map([...found].map(([name, values]) => [name, values.toSorted()]))).toEqual(new Map(documented));
});

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

test("the dashboard asks for metrics and labels that there are, and leaves none of the service out", async () => {
  const dashboard = JSON.parse(readFileSync("docs/operations/grafana-dashboard.json", "utf8")) as {
    panels: Panel[];
  };
  const labels = new Map(
    rows.map(({ name, labels: cell }) => [name, [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word)]),
  );
  const types = new Map(rows.map(({ name, type }) => [name, type]));
  const names = new Set(namesOf(await text()));
  const asked = new Set<string>();
  for (const { title, type, targets = [] } of dashboard.panels) {
    expect(targets.length > 0, title).toBe(type !== "row");
    for (const { expr, legendFormat } of targets) {
      const used = [...expr.matchAll(/tributary_\w+/g)].map(([name]) => name);
      expect(used, `${title}: ${expr}`).toHaveLength(1);
      const [series = ""] = used;
      const name = series.replace(/_(bucket|sum|count)$/, "");
      const metric = types.get(name) === "histogram" ? name : series;
      expect(names.has(metric), `${title}: ${series}`).toBe(true);
      expect(types.get(metric) === "histogram", `${title}: ${series}`).toBe(metric !== series);
      // Counters are asked for by how fast they rise.
      if (types.get(metric) !== "gauge") expect(expr, title).toMatch(/rate\(|increase\(/);
      asked.add(metric);
      const by = [...expr.matchAll(/by \((\w+)\)/g), ...legendFormat.matchAll(/\{\{(\w+)\}\}/g)];
      for (const [, label = ""] of by)
        expect(["instance", "le", ...(labels.get(metric) ?? [])], `${title}: ${expr}`).toContain(label);
    }
  }
  expect(rows.filter(({ name }) => !isOfProcess(name) && !asked.has(name)).map(({ name }) => name)).toEqual(
    [],
  );
  expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
});
