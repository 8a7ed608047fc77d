import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { MdError } from "../../base/md-error.ts";
import type { TraceRecord as RecordTold } from "../../daemon/control-api.ts";
import { parseDuration } from "../../daemon/parse-duration.ts";
import { type MachineLife, type ReplayedStep, replayMachines } from "../../sim/replay/machine-lives.ts";
import { parseTrace, type TraceRecord } from "../../sim/replay/parse-trace.ts";
import { type ReplayVerdict, replayTrace } from "../../sim/replay/replay.ts";
import type { Command, CommandContext, CommandResult } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { parseCount } from "../parse-size.ts";
import { said, traceLine } from "../render/trace-line.ts";

/** `mdctl trace record|show|replay FILE...` */
export const trace: Command = async (invocation, context) => {
  const [action, ...files] = invocation.operands;
  if (action === "record" && files.length === 1) return record(invocation, context, files[0] ?? "");
  if (action === "show" && files.length > 0) return show(invocation, read(context, files));
  if (action === "replay" && files.length > 0) return replay(read(context, files));
  throw new MdError("E_USAGE", `trace ${invocation.operands.join(" ")} is not available`, {
    hint: "mdctl trace record FILE",
  });
};

async function record(invocation: Invocation, context: CommandContext, file: string): Promise<CommandResult> {
  const limit = invocation.value("for");
  const ends = limit === null ? null : AbortSignal.timeout(parseDuration("for", limit));
  const fd = create(resolve(context.cwd, file), invocation.has("force"));
  let records = 0;
  try {
    const onEvent = (told: RecordTold): void => {
      writeSync(fd, `${JSON.stringify(told)}\n`);
      records++;
    };
    await context.request("trace", { array: invocation.value("array") }, { onEvent, ...(ends && { signal: ends }) });
  } catch (error) {
    const isEnd = ends?.aborted === true || context.interrupted.aborted;
    if (!isEnd || !(error instanceof MdError && error.code === "E_CANCELLED")) throw error;
  } finally {
    closeSync(fd);
  }
  return { data: { file, records }, text: `${file}: ${records} records\n` };
}

function create(path: string, force: boolean): number {
  try {
    return openSync(path, force ? "w" : "wx", 0o600);
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === "EEXIST";
    throw new MdError("E_VALUE", `${path} cannot be written`, {
      why: exists ? "it exists" : String(error),
      ...(exists ? { hint: `mdctl trace record --force ${path}` } : {}),
    });
  }
}

/** All files' records in the order of their clocks; those of one file stay in its order. */
function read(context: CommandContext, files: readonly string[]): readonly TraceRecord[] {
  const records = files.flatMap((file) => {
    let text: string;
    try {
      text = readFileSync(resolve(context.cwd, file), "utf8");
    } catch (error) {
      throw new MdError("E_VALUE", `${file} cannot be read`, { why: String(error) });
    }
    return parseTrace(file, text);
  });
  if (records.length === 0) {
    throw new MdError("E_VALUE", `${files.join(", ")}: no step of a protocol is told there`, {
      why: "neither a recording nor a log in JSON at level trace",
      hint: "mdctl trace record FILE",
    });
  }
  return records.toSorted((a, b) => a.time - b.time);
}

interface Shown {
  readonly life: MachineLife;
  readonly step: ReplayedStep;
}

function show(invocation: Invocation, records: readonly TraceRecord[]): CommandResult {
  const node = invocation.value("of");
  const lives = replayMachines(records).filter((life) => node === null || life.node === node);
  const steps = lives
    .flatMap((life) => life.steps.map((step): Shown => ({ life, step })))
    .sort((a, b) => a.step.record.time - b.step.record.time);
  const zero = steps[0]?.step.record.time ?? 0;
  const wanted = invocation.value("step");
  if (wanted !== null) return showOne(steps, parseCount("step", wanted, 1, Math.max(1, steps.length)), zero);
  const lines = steps.map(({ life, step }, at) => `${traceLine(at + 1, life.machine, step, zero)}\n`);
  const broken = lives.flatMap((life) =>
    life.broken === null ? [] : [`${life.node} ${life.machine}: ${life.broken}\n`],
  );
  const data = {
    steps: steps.map(({ life, step }, at) => ({
      number: at + 1,
      node: life.node,
      machine: life.machine,
      time: step.record.time,
      event: step.record.fields["event"],
      effects: step.record.fields["effects"],
    })),
    broken,
  };
  return { data, text: [...lines, ...broken].join("") };
}

function showOne(steps: readonly Shown[], number: number, zero: number): CommandResult {
  const shown = steps[number - 1];
  if (shown === undefined) throw new MdError("E_VALUE", "there is no step in this trace");
  const { life, step } = shown;
  const text = [
    traceLine(number, life.machine, step, zero),
    `  before  ${said(step.before)}`,
    `  event   ${said(step.event)}`,
    ...step.effects.map((effect) => `  effect  ${said(effect)}`),
    `  after   ${said(step.after)}`,
  ];
  const { event, effects } = step.record.fields;
  return { data: { number, node: life.node, machine: life.machine, event, effects }, text: `${text.join("\n")}\n` };
}

function replay(records: readonly TraceRecord[]): CommandResult {
  const verdict = replayTrace(records);
  return { data: verdict, text: `${linesOf(verdict).join("\n")}\n`, exitCode: verdict.ok ? 0 : 1 };
}

function linesOf({ ok, machines, messages, holds }: ReplayVerdict): readonly string[] {
  return [
    ...machines.map(({ node, machine, steps, broken }) =>
      broken === null ? `${node} ${machine}: ${steps} steps, each as recorded` : `${node} ${machine}: ${broken}`,
    ),
    `messages: ${messages.said} said, ${messages.heard} heard`,
    ...messages.wrong.map((text) => `broken: ${text}`),
    `locks: ${holds.held} held`,
    ...holds.conflicts.map((text) => `broken: ${text}`),
    `replay: ${ok ? "ok" : "FAILED"}`,
  ];
}
