// Writes each board as a typed constant beside `out`, for tsc to judge: a misspelt key, a wrong kind, an unknown word of an enumeration.
// A panel's options and its `custom` fields are judged by its own kind's types; Grafana itself lets them be anything.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

const [boards, out] = process.argv.slice(2);
mkdirSync(out, { recursive: true });

const head = `import type { AnnotationQuery, Dashboard, Panel, RowPanel } from "@grafana/schema";
import type { Options as StatOptions } from "../node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type { Options as TableOptions, FieldConfig as TableFields } from "../node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import type { Options as SeriesOptions, FieldConfig as SeriesFields } from "../node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

// JSON has words and numbers where Grafana's types have enumerations.
type Plain<T> = T extends string ? (string extends T ? string : \`\${T}\`)
  : T extends number ? (\`\${T}\` extends \`\${infer N extends number}\` ? N : never)
  : T extends boolean | null | undefined ? T
  : T extends Array<infer I> ? Array<Plain<I>>
  : unknown extends T ? unknown
  : { [K in keyof T]: Plain<T[K]> };
// Grafana leaves these open for every kind of panel; here they are closed.
type Closed<T> = { [K in keyof T as string extends K ? never : K]: T[K] };
type Fields<C> = Omit<Closed<Plain<NonNullable<NonNullable<Panel["fieldConfig"]>["defaults"]>>>, "custom"> & { custom: Plain<C> };
type Query = { datasource: { type: "prometheus"; uid: string }; expr: string; legendFormat: string; refId: string; range: boolean; instant: boolean; format?: "table" };
type Of<K extends string, O, C> = Omit<Plain<Panel>, "type" | "options" | "fieldConfig" | "targets"> & {
  type: K; description: string; gridPos: object; options: Partial<Plain<O>>; targets: Query[];
  fieldConfig: { defaults: Fields<C>; overrides: unknown[] };
};
type One = Of<"stat", StatOptions, {}> | Of<"table", TableOptions, TableFields> | Of<"timeseries", SeriesOptions, SeriesFields> | Plain<RowPanel>;
// The Prometheus source reads these two beside what Grafana's own type lists.
type Annotation = Plain<AnnotationQuery> & { expr: string; titleFormat: string };
type Board = Omit<Plain<Dashboard>, "panels" | "annotations"> & { panels: One[]; annotations: { list: Annotation[] } };
`;
for (const file of readdirSync(boards).filter((name) => name.endsWith(".json"))) {
  const json = readFileSync(`${boards}/${file}`, "utf8").trimEnd();
  writeFileSync(`${out}/${file.replace(".json", ".ts")}`, `${head}\nexport const board: Board = ${json};\n`);
}
