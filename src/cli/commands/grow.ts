import { MdError } from "../../base/md-error.ts";
import { bitmapKind } from "../../daemon/bitmap-kind-param.ts";
import type { GrowData, GrowParams } from "../../daemon/control-api.ts";
import { isArrayDesignator, isPlainName } from "../array-designator.ts";
import type { Command, CommandContext } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { parseCount, parseSize } from "../parse-size.ts";
import { sizeText } from "../render/size-text.ts";
import { newMemberPath } from "./member-path.ts";

const MOST_NODES = 1024;

type Planned = Omit<GrowParams, "dryRun" | "mayShrink">;

/** Another size, number of members, chunk, bitmap or number of nodes. What would cut something off is asked about first, by name. */
export const grow: Command = async (invocation, context) => {
  const params = readGrow(invocation, context.cwd);
  const isDryRun = invocation.has("dry-run");
  const mayShrink = params.sizeBytes !== null || params.sizeMax;
  if (isDryRun || mayShrink) {
    const { data } = await context.request("grow", { ...params, dryRun: true, mayShrink: false });
    if (isDryRun) return { data, text: data.changes.map(plannedText).join("") };
    if (data.shrinks) await confirmShrinking(params, data, context);
  }
  const { data } = await context.request("grow", { ...params, dryRun: false, mayShrink });
  for (const change of data.changes) context.note(changeText(data, change));
  if (data.changes.length === 0) context.note(`${data.array} is so already`);
  const action = data.sync?.status === "none" ? null : data.sync?.action;
  if (action != null) context.note(`${action} of ${data.array} is due; follow: mdctl wait ${data.array}`);
  return { data, text: "" };
};

function readGrow(invocation: Invocation, cwd: string): Planned {
  refuseAbsent(invocation);
  const size = invocation.value("size");
  const disks = invocation.value("raid-devices");
  const chunk = invocation.value("bitmap-chunk");
  const stripe = invocation.value("chunk");
  const nodes = invocation.value("nodes");
  const bitmap = invocation.value("bitmap");
  if ([size, disks, chunk, stripe, nodes, bitmap].every((each) => each === null)) {
    throw new MdError("E_USAGE", "grow is not told what to change", { hint: "mdctl grow --size=max" });
  }
  const { array, members } = operandsOf(invocation);
  const adds = invocation.has("add");
  if (members.length > 0 && !adds) {
    throw new MdError("E_USAGE", `grow does not take "${members[0]}"`, { hint: `put --add before ${members[0]}` });
  }
  if (adds && members.length === 0) throw new MdError("E_USAGE", "--add names no member");
  if (adds && disks === null) throw new MdError("E_USAGE", "--add goes with --raid-devices", { hint: "mdctl add" });
  return {
    array,
    sizeMax: size === "max",
    sizeBytes: size === null || size === "max" ? null : parseSize("size", size),
    raidDevices: disks === null ? null : parseCount("raid-devices", disks, 1, 1920),
    bitmapChunkBytes: chunk === null ? null : parseSize("bitmap-chunk", chunk),
    chunkBytes: stripe === null ? null : parseSize("chunk", stripe),
    bitmap: bitmapKind(bitmap),
    nodes: nodes === null ? null : parseCount("nodes", nodes, 2, MOST_NODES),
    add: members.map((member) => newMemberPath(member, cwd)),
    assumeClean: invocation.has("assume-clean"),
  };
}

/** The first operand is the array, as for mdadm; with `--add` it may be left out. */
function operandsOf(invocation: Invocation): { array: string | null; members: readonly string[] } {
  const { operands, spelling } = invocation;
  const [first] = operands;
  if (first === undefined) return { array: null, members: [] };
  const isNamed = isArrayDesignator(first) || isPlainName(first);
  const isArray = spelling === "option" || isNamed || !invocation.has("add");
  return isArray ? { array: first, members: operands.slice(1) } : { array: null, members: operands };
}

function refuseAbsent(invocation: Invocation): void {
  if (invocation.value("array-size") !== null) {
    throw new MdError(
      "E_USAGE",
      "array-size is not possible with a clustered array: other nodes would not know of it",
      {
        hint: "--size changes what is used of each member, on all nodes",
      },
    );
  }
}

async function confirmShrinking({ array }: Planned, data: GrowData, context: CommandContext): Promise<void> {
  if (array === null) throw new MdError("E_ARRAY_REQUIRED", `say which array is to shrink: ${data.array}`);
  if (data.content !== null) context.note(`${data.array} contains ${data.content}: has it been shrunk before?`);
  const [size] = data.changes.filter(({ what }) => what === "size");
  const what = `shrinking ${data.array} cuts off all beyond ${sizeText(Number(size?.after))}`;
  await context.confirm(data.array, what, `mdctl grow ${data.array} ...`);
}

const plannedText = ({ what, target, before, after }: GrowData["changes"][number]): string =>
  `would change: ${what} of ${target} from ${String(before)} to ${String(after)}\n`;

/** In mdadm's words where it has some. */
function changeText({ array }: GrowData, { what, target, after }: GrowData["changes"][number]): string {
  switch (what) {
    case "size":
      return `component size of ${array} has been set to ${Number(after) / 1024}K`;
    case "raid-devices":
      return `raid_disks for ${array} set to ${String(after)}`;
    case "chunk":
      return `chunk size of ${array} has been set to ${Number(after) / 1024}K`;
    case "bitmap":
      return `bitmap of ${array} has been set to ${String(after)}`;
    case "nodes":
      return `${array} may be used by ${String(after)} nodes at once`;
    case "bitmap-chunk":
      return `bitmap chunk of ${array} has been set to ${Number(after) / 1024}K`;
    default:
      return `added ${target}`;
  }
}
