import { MdError, type MdErrorCode } from "../base/md-error.ts";
import { errorInfo } from "../daemon/error-info.ts";
import type { CommandResult } from "./command.ts";
import { commands } from "./commands/commands.ts";
import { envelope } from "./envelope.ts";
import { errorText } from "./error-text.ts";
import { EXIT_BUG, EXIT_INTERRUPTED, exitStatus } from "./exit-status.ts";
import { Invocation } from "./invocation.ts";
import { findMode, type Mode } from "./mode.ts";
import { manageOptions } from "./options/array-verbs.ts";
import { verbNamed } from "./options/verbs.ts";
import { RunContext, wantsJson } from "./run-context.ts";
import type { World } from "./world.ts";

const EXIT_TERMINATED = 143;

/** Reads a command line, runs it, prints its answer. Resolves with the exit status; never rejects. */
export async function runCommandLine(argv: readonly string[], world: World): Promise<number> {
  let invocation: Invocation;
  try {
    const mode = findMode(argv);
    const special = await runSpecial(mode, world);
    if (special !== null) return special;
    invocation = invocationOf(mode);
    if (invocation.has("help")) return await help(world, invocation.verb);
    if (invocation.has("version")) return await version(world);
  } catch (error) {
    return refuse(argv, world, error);
  }
  return run(invocation, world);
}

async function runSpecial(mode: Mode, world: World): Promise<number | null> {
  switch (mode.type) {
    case "help":
      return help(world, mode.topic);
    case "help-exit": {
      const { exitHelp } = await import("./help.ts");
      world.stdout(exitHelp());
      return 0;
    }
    case "version":
      return version(world);
    case "verb":
    case "manage":
      return null;
    default:
      return mode satisfies never;
  }
}

async function help(world: World, topic: string | null): Promise<number> {
  const { generalHelp, verbHelp } = await import("./help.ts");
  const verb = topic === null ? null : verbNamed(topic);
  world.stdout(verb === null ? generalHelp() : await verbHelp(verb));
  return 0;
}

async function version(world: World): Promise<number> {
  const { versionText } = await import("./version-text.ts");
  world.stdout(versionText());
  return 0;
}

function invocationOf(mode: Mode): Invocation {
  if (mode.type === "manage") return Invocation.read({ name: "manage", options: manageOptions }, "option", mode.words);
  const verb = mode.type === "verb" ? verbNamed(mode.verb) : null;
  if (mode.type !== "verb" || verb === null) throw new MdError("E_USAGE", "nothing to do", { hint: "mdctl --help" });
  return Invocation.read(verb, mode.spelling, mode.words);
}

/** The command line could not be read: nothing has run. */
function refuse(argv: readonly string[], world: World, error: unknown): number {
  const { failure, exitCode } = failureOf(error);
  if (argv.some((word) => /^--json($|=)/.test(word)) || world.env["MDCTL_FORMAT"] === "json") {
    const [verb = "mdctl"] = argv.filter((word) => verbNamed(word) !== null);
    const [node = ""] = world.hostname.split(".");
    const parts = { command: verb, exitCode, now: world.now(), node, cluster: null, data: null, warnings: [] };
    world.stdout(`${JSON.stringify(envelope({ ...parts, error: errorInfo(failure) }))}\n`);
  } else world.stderr(errorText(failure));
  return exitCode;
}

async function run(invocation: Invocation, world: World): Promise<number> {
  let context: RunContext;
  try {
    context = new RunContext(world, invocation);
  } catch (error) {
    return refuse(wantsJson(invocation, world.env) ? ["--json"] : [], world, error);
  }
  let result: CommandResult = { data: null, text: "" };
  let failure: MdError | null = null;
  let exitCode: number;
  try {
    const command = await commands[invocation.verb]?.();
    if (command === undefined) throw new MdError("E_INTERNAL", `the verb ${invocation.verb} has no command`);
    result = await command(invocation, context);
    exitCode = result.exitCode ?? 0;
  } catch (error) {
    ({ failure, exitCode } = failureOf(error));
    result = { data: dataOf(failure), text: "" };
    if (context.signal === "SIGTERM" && exitCode === EXIT_INTERRUPTED) exitCode = EXIT_TERMINATED;
  }
  await context.close();
  report(invocation, context, world, { result, failure, exitCode });
  return exitCode;
}

interface Outcome {
  readonly result: CommandResult;
  readonly failure: MdError | null;
  readonly exitCode: number;
}

function report(invocation: Invocation, context: RunContext, world: World, outcome: Outcome): void {
  const { result, failure, exitCode } = outcome;
  if (context.json) {
    if (result.streamed === true && failure === null) return;
    const document = envelope({
      command: invocation.verb,
      exitCode,
      now: world.now(),
      node: context.node,
      cluster: context.cluster,
      data: result.data,
      warnings: [...context.warnings, ...(result.warnings ?? [])],
      error: failure === null ? null : errorInfo(failure),
    });
    const pretty = invocation.value("json") === "pretty";
    world.stdout(`${JSON.stringify(document, null, pretty ? 2 : undefined)}\n`);
    return;
  }
  for (const { message } of result.warnings ?? []) context.note(message);
  if (failure !== null) world.stderr(errorText(failure));
  else if (result.streamed !== true) world.stdout(textOf(invocation, result, world));
}

function textOf(invocation: Invocation, { text, plain, exported }: CommandResult, { env }: World): string {
  if (invocation.has("export") && exported !== undefined) return exported;
  const wantsPlain = invocation.has("plain") || env["MDCTL_FORMAT"] === "plain";
  return wantsPlain && plain !== undefined ? plain : text;
}

/** What a partial failure has done already, for scripts. */
const dataOf = ({ details }: MdError): unknown => details["data"] ?? null;

function failureOf(error: unknown): { failure: MdError; exitCode: number } {
  if (error instanceof MdError) return { failure: error, exitCode: exitStatus(error.code as MdErrorCode) };
  const text = error instanceof Error ? error.message : String(error);
  const options = { cause: error, ...(error instanceof Error ? { why: firstFrame(error) } : {}) };
  return { failure: new MdError("E_INTERNAL", `internal error: ${text}`, options), exitCode: EXIT_BUG };
}

/** Where it happened, in one line: a whole stack helps nobody at a terminal. */
const firstFrame = ({ stack = "" }: Error): string => stack.split("\n")[1]?.trim() ?? "no stack";
