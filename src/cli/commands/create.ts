import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import type { BitmapKind } from "../../array/md-array.ts";
import { assert } from "../../base/assert.ts";
import { MdError } from "../../base/md-error.ts";
import { bitmapKind } from "../../daemon/bitmap-kind-param.ts";
import type { ArrayInfo, CreateParams, Finding } from "../../daemon/control-api.ts";
import { frontendOf } from "../../daemon/frontend-param.ts";
import { isArrayDesignator, isPlainName, lastPart } from "../array-designator.ts";
import type { Command, CommandContext } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { parseCount, parseSize } from "../parse-size.ts";
import { sizeText } from "../render/size-text.ts";
import { newMemberPath } from "./member-path.ts";

/** Refuses what cannot be, asks the one question that may be needed, and has the daemon do it. */
export const create: Command = async (invocation, context) => {
  const params = readCreate(invocation, context);
  const { data } = await withQuestion(context, (run) =>
    context.request("create", { ...params, run: params.run || run }),
  );
  if (data.array === null) {
    const lines = data.changes.map(({ target, what }) => `would write ${what} of ${target}`);
    return { data, text: `${lines.join("\n")}\n` };
  }
  const { array } = data;
  const layout = array.layout === null ? "" : ` ${array.layout}`;
  context.note(`creating ${array.name}: ${array.level}${layout}, ${array.members.length} members, ${usedBy(array)}`);
  for (const { path, sizeBytes } of array.members) {
    if (path !== null && sizeBytes !== null) context.note(`  ${path}  ${sizeText(sizeBytes)}`);
  }
  const resync =
    array.sync.status === "none" || array.activeDevices < 2 ? "" : `, resync ${sizeText(array.sizeBytes)} running`;
  context.note(`array ${array.path} started${resync}`);
  if (array.mapping !== null) context.note(`exported on ${array.mapping.uri}`);
  const others = array.clustered ? `   other nodes: mdctl assemble ${array.name}` : "";
  if (resync !== "") context.note(`  follow: mdctl wait ${array.name}${others}`);
  return { data, text: "" };
};

/** Runs `attempt`; when it is refused for want of an answer, asks, and runs it once more with the answer. */
export async function withQuestion<T>(context: CommandContext, attempt: (run: boolean) => Promise<T>): Promise<T> {
  try {
    return await attempt(false);
  } catch (error) {
    if (!(error instanceof MdError) || error.code !== "E_CONFIRM") throw error;
    const findings = (error.details["findings"] ?? []) as readonly Finding[];
    for (const { text } of findings) context.note(text);
    const answer = await context.ask("Continue creating array");
    if (answer === true) return attempt(true);
    throw error;
  }
}

const usedBy = ({ nodesMax, homeCluster, bitmap }: ArrayInfo): string =>
  nodesMax === null
    ? `bitmap ${bitmap === null ? "none" : bitmap.type}, for this node alone`
    : `clustered for ${nodesMax} nodes, cluster ${homeCluster}`;

export function readCreate(invocation: Invocation, context: CommandContext): CreateParams {
  const { array, members } = arrayAndMembers(invocation, context.cwd);
  const level = readLevel(invocation.value("level"));
  checkKind(invocation, level);
  const real = members.map((member) => (member === "missing" ? null : newMemberPath(member, context.cwd)));
  const raidDevices = checkCounts(invocation, real.length);
  const active = real.slice(0, raidDevices);
  const spares = real.slice(raidDevices).filter((member) => member !== null);
  if (raidDevices + spares.length < real.length) throw new MdError("E_USAGE", "a spare cannot be missing");
  if (active.every((member) => member === null)) throw new MdError("E_USAGE", "at least one member must be real");
  const number = (option: string, least: number, most: number): number | null => {
    const text = invocation.value(option);
    return text === null ? null : parseCount(option, text, least, most);
  };
  const size = (option: string): number | null => {
    const text = invocation.value(option);
    return text === null || text === "max" ? null : parseSize(option, text);
  };
  const nodes = number("nodes", 0, 1024);
  if (nodes !== null && nodes < 2)
    throw new MdError("E_VALUE", `a clustered array needs at least 2 nodes, got ${nodes}`);
  return {
    name: invocation.value("name") ?? array,
    level,
    layout: invocation.value("layout"),
    chunkBytes: size("chunk"),
    members: active,
    spares,
    writeMostly: flagged(invocation, "write-mostly", "readwrite", context.cwd),
    failfast: flagged(invocation, "failfast", "nofailfast", context.cwd),
    bitmap: readBitmap(invocation),
    nodes,
    homeCluster: invocation.value("home-cluster") ?? invocation.value("cluster"),
    homehost: invocation.value("homehost"),
    bitmapChunkBytes: size("bitmap-chunk"),
    flushSeconds: number("delay", 1, 65_535),
    sizeBytes: size("size"),
    dataOffsetBytes: size("data-offset"),
    uuid: invocation.value("uuid"),
    assumeClean: invocation.has("assume-clean"),
    run: invocation.has("run"),
    force: invocation.has("force"),
    readOnly: invocation.has("readonly"),
    fileMembers: invocation.has("file-members"),
    map: !invocation.has("no-map"),
    frontend: frontendOf(invocation.value("frontend")),
    dryRun: invocation.has("dry-run"),
  };
}

function arrayAndMembers(invocation: Invocation, cwd: string): { array: string | null; members: readonly string[] } {
  const { operands, spelling } = invocation;
  const [first] = operands;
  if (first === undefined) throw new MdError("E_USAGE", "no members are given", { hint: "mdctl create --help" });
  const isArray = spelling === "option" || isArrayName(first, cwd);
  const array = isArray ? lastPart(first) : null;
  const members = isArray ? operands.slice(1) : operands;
  assert(members.length + (isArray ? 1 : 0) === operands.length, "every operand is the array or a member");
  if (members.length === 0) throw new MdError("E_USAGE", `no members are given for ${basename(first)}`);
  return { array, members };
}

/** The members behind `on`, up to `off`, as mdadm reads them. */
function flagged(invocation: Invocation, on: string, off: string, cwd: string): readonly string[] {
  const members: string[] = [];
  let isOn = false;
  for (const token of invocation.tokens) {
    if (token.type === "operand") {
      if (isOn && token.text !== "missing") members.push(newMemberPath(token.text, cwd));
    } else if (token.spec.name === on) isOn = true;
    else if (token.spec.name === off) isOn = false;
  }
  return members;
}

/** In the verb spelling ARRAY may be left out: what is there already, or is a path, is a member. */
function isArrayName(word: string, cwd: string): boolean {
  if (word === "missing" || existsSync(resolve(cwd, word))) return false;
  return isArrayDesignator(word) || isPlainName(word);
}

function readLevel(level: string | null): CreateParams["level"] {
  if (level === null) throw new MdError("E_USAGE", "a RAID level is needed to create an array", { hint: "--level=1" });
  if (["1", "raid1", "mirror"].includes(level)) return 1;
  if (["10", "raid10"].includes(level)) return 10;
  const name = /^\d+$/.test(level) ? `raid${level}` : level;
  throw new MdError("E_LEVEL_UNSUPPORTED", `level ${name} is not supported; mdctl does raid1 and raid10`);
}

/** Internal by default, as for mdadm; `--cluster` is short for a clustered one. */
function readBitmap(invocation: Invocation): BitmapKind {
  const kind = bitmapKind(invocation.value("bitmap"));
  const isCluster = invocation.has("cluster") || invocation.has("home-cluster");
  if (!isCluster) return kind ?? "internal";
  if (kind === null || kind === "clustered") return "clustered";
  throw new MdError("E_USAGE", `--cluster and --bitmap=${kind} contradict each other`);
}

/** What only other kinds of arrays have. */
function checkKind(invocation: Invocation, level: CreateParams["level"]): void {
  const metadata = invocation.value("metadata");
  if (metadata !== null && metadata !== "1.2") {
    throw new MdError("E_METADATA_UNSUPPORTED", `metadata ${metadata} is not possible: 1.2 is`);
  }
  if (invocation.has("write-mostly") && readBitmap(invocation) === "clustered") {
    throw new MdError("E_USAGE", "write-mostly is not possible with a clustered bitmap");
  }
  for (const option of ["chunk", "layout"]) {
    if (level !== 10 && invocation.value(option) !== null) throw new MdError("E_USAGE", `--${option} is for raid10`);
  }
  const cluster = invocation.value("cluster");
  const home = invocation.value("home-cluster");
  if (cluster !== null && home !== null && cluster !== home) {
    throw new MdError("E_USAGE", `--cluster=${cluster} and --home-cluster=${home} contradict each other`);
  }
}

/** The number of raid devices: the members that are left when the spares, which are the last ones, are taken off. */
function checkCounts(invocation: Invocation, members: number): number {
  const count = (option: string): number | null => {
    const text = invocation.value(option);
    return text === null ? null : parseCount(option, text, option === "raid-devices" ? 1 : 0, 1920);
  };
  const spares = count("spare-devices") ?? 0;
  const disks = count("raid-devices") ?? members - spares;
  const were = members === 1 ? "member was" : "members were";
  const and = spares === 0 ? "" : ` and spare-devices ${spares}`;
  if (disks < 1 || disks + spares > members) {
    throw new MdError(
      "E_USAGE",
      `raid-devices is ${Math.max(disks, 1)}${and} but ${members} ${were} given; add a member or the word 'missing'`,
    );
  }
  if (disks + spares < members) {
    throw new MdError("E_USAGE", `raid-devices is ${disks} and spare-devices ${spares} but ${members} ${were} given`, {
      hint: `-x${members - disks}`,
    });
  }
  return disks;
}
