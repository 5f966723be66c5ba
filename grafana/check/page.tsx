// One board as Grafana draws it: its own panel frame, graph, big value and table, fed with what a real Prometheus answered.
// Absent on purpose: Grafana's server, its menus and its time picker.
import "./process";
import React from "react";
import { createRoot } from "react-dom/client";
import {
  FieldType, createTheme, dateTime, getDisplayProcessor, toDataFrame, type DataFrame, ThemeContext,
} from "@grafana/data";
import { BigValue, InteractiveTable, PanelChrome, TimeSeries } from "@grafana/ui";

type Answer = { panel: string; expr: string; legend: string; series: { metric: Record<string, string>; values: [number, string][] }[] };
declare global { interface Window { board: any; file: string; answers: Answer[]; now: number; drawn: boolean } }

const theme = createTheme({ colors: { mode: "light" } });
const COLUMN = 1560 / 24;
const ROW = 34;
const { board, file, answers } = window;
const points = answers.flatMap((a) => a.series.flatMap((s) => s.values.map(([at]) => at)));
const from = Math.min(...points) * 1000;
const to = window.now * 1000;
const range = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };

const number = (text: string) => (text === "NaN" ? null : text === "+Inf" ? Infinity : Number(text));
const named = (legend: string, metric: Record<string, string>) =>
  legend === "__auto" ? undefined : legend.replace(/{{\s*(\w+)\s*}}/g, (_, label) => metric[label] ?? "");

// What Grafana does with a panel's defaults: unit, thresholds, colours, and the words for nothing.
function finish(frames: DataFrame[], panel: any) {
  frames.forEach((frame, seriesIndex) => frame.fields.filter((field) => field.type === FieldType.number).forEach((field) => {
    field.config = { ...panel.fieldConfig.defaults, ...field.config };
    field.state = { ...field.state, seriesIndex };
    field.display = getDisplayProcessor({ field, theme, timeZone: board.timezone });
  }));
  return frames;
}

// Every second a point, a gap where nothing was answered.
function lines(panel: any): DataFrame[] {
  const mine = answers.filter((a) => a.panel === `${file}: ${panel.title}`);
  const frames = mine.flatMap((answer) => answer.series.map((series) => {
    const known = new Map(series.values.map(([at, value]) => [at * 1000, number(value)]));
    const times: number[] = [];
    for (let at = from; at <= to; at += 1000) times.push(at);
    const name = named(answer.legend, series.metric);
    return toDataFrame({
      fields: [
        { name: "Time", type: FieldType.time, values: times },
        { name: "Value", type: FieldType.number, values: times.map((at) => known.get(at) ?? null), labels: series.metric, config: { displayNameFromDS: name } },
      ],
    });
  }));
  return finish(frames, panel);
}

// What an instant query gives at the end.
function now(panel: any) {
  const mine = answers.filter((a) => a.panel === `${file}: ${panel.title}`);
  return mine.flatMap((a) => a.series).filter((s) => s.values.some(([at]) => at * 1000 === to))
    .map((s) => ({ metric: s.metric, value: number(s.values[s.values.length - 1][1]) }));
}

function Stat({ panel, width, height }: any) {
  const value = now(panel)[0]?.value ?? null;
  const [frame] = finish([toDataFrame({ fields: [{ name: "Value", type: FieldType.number, values: [value] }] })], panel);
  return <BigValue value={frame.fields[0].display!(value)} width={width} height={height} theme={theme} colorMode={panel.options.colorMode}
    graphMode={panel.options.graphMode} justifyMode={panel.options.justifyMode} textMode={"value" as any} />;
}

function Rows({ panel, height }: any) {
  const found = now(panel).sort((one, other) => (other.value ?? 0) - (one.value ?? 0));
  const [frame] = finish([toDataFrame({ fields: [{ name: "Value", type: FieldType.number, values: found.map((row) => row.value) }] })], panel);
  const display = frame.fields[0].display!;
  const text = (value: number | null) => { const { prefix, text, suffix } = display(value); return `${prefix ?? ""}${text}${suffix ?? ""}`; };
  const data = found.map((row, id) => ({ id: String(id), ...row.metric, Value: text(row.value) }));
  const columns = [...new Set(found.flatMap((row) => Object.keys(row.metric))), "Value"].map((id) => ({ id, header: id }));
  if (found.length === 0) return <div style={{ padding: 24, textAlign: "center", color: theme.colors.text.secondary }}>No data</div>;
  return <div style={{ height, overflow: "hidden" }}><InteractiveTable columns={columns} data={data} getRowId={(row: any) => row.id} /></div>;
}

function Drawn({ panel, width, height }: any) {
  if (panel.type === "stat") return <Stat {...{ panel, width, height }} />;
  if (panel.type === "table") return <Rows {...{ panel, width, height }} />;
  return <TimeSeries frames={lines(panel)} width={width} height={height} timeRange={range as any} timeZone={board.timezone} legend={panel.options.legend} />;
}

class Guard extends React.Component<any, { error?: Error }> {
  state: { error?: Error } = {};
  static getDerivedStateFromError(error: Error) { return { error }; }
  render() { return this.state.error ? <pre style={{ color: "red", fontSize: 10 }}>{String(this.state.error.stack)}</pre> : this.props.children; }
}

function Board() {
  const bottom = Math.max(...board.panels.map((p: any) => p.gridPos.y + p.gridPos.h));
  return (
    <div id="board" style={{ position: "relative", width: 1576, height: bottom * ROW + 56, background: theme.colors.background.canvas }}>
      <div style={{ position: "absolute", left: 8, top: 12, font: `500 20px ${theme.typography.fontFamily}`, color: theme.colors.text.primary }}>{board.title}</div>
      {board.panels.map((panel: any) => {
        const { x, y, w, h } = panel.gridPos;
        const box = { position: "absolute" as const, left: x * COLUMN + 8, top: y * ROW + 48, width: w * COLUMN - 8, height: h * ROW - 8 };
        if (panel.type === "row") {
          return <div key={panel.id} style={{ ...box, font: `500 15px ${theme.typography.fontFamily}`, color: theme.colors.text.primary, paddingTop: 4 }}>{panel.title}</div>;
        }
        return (
          <div key={panel.id} style={box}>
            <PanelChrome title={panel.title} width={box.width} height={box.height} padding={panel.type === "stat" ? "none" : "md"}>
              {(width: number, height: number) => <Guard><Drawn {...{ panel, width, height }} /></Guard>}
            </PanelChrome>
          </div>
        );
      })}
    </div>
  );
}

createRoot(document.getElementById("root")!).render(<ThemeContext.Provider value={theme}><Board /></ThemeContext.Provider>);
setTimeout(() => { window.drawn = true; }, 2500);
