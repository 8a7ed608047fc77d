import { type ArrayShape, checkRoom, type MemberRoom, memberSizeFor, syncSizeOf } from "../array/array-shape.ts";
import { isDegraded, type MdArray, writableMembers } from "../array/md-array.ts";
import { flushMembers } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { bitBytes, bitmapLayout } from "../bitmap/bitmap-layout.ts";
import { bitsOfRange } from "../bitmap/resize-bits.ts";
import { type NodeContext, shortName } from "./node-context.ts";

/** What the data plane and our own bitmap are made for. Ahead of the superblocks while a change of shape is prepared. */
export interface Form {
  /** Sectors that the bitmap covers. */
  readonly syncSize: Sector;
  readonly raidDisks: number;
  readonly chunkBytes: number;
}

/** A change of shape that every node is ready for, until CHANGE_CAPACITY ends it or it is undone. */
export interface PreparedForm {
  /** To return to. */
  readonly before: Form;
  /** Bits, of the form before, that the new one has no place for. */
  readonly lost: Uint8Array | null;
}

export const formOf = (array: MdArray): Form => ({
  syncSize: array.size,
  raidDisks: array.raidDisks,
  chunkBytes: array.bitmap.layout.chunkSectors * 512,
});

export const formOfShape = (array: MdArray, shape: ArrayShape): Form => ({
  syncSize: syncSizeOf(array, shape),
  raidDisks: shape.raidDisks,
  chunkBytes: shape.chunkBytes,
});

export const sameForm = (a: Form, b: Form): boolean =>
  a.syncSize === b.syncSize && a.raidDisks === b.raidDisks && a.chunkBytes === b.chunkBytes;

/** What each member that is not faulty has room for on this host now: devices can be made larger while they are open. */
export async function memberRoom(context: NodeContext): Promise<readonly MemberRoom[]> {
  return Promise.all(
    writableMembers(context.array).map(async ({ number, dataOffset }): Promise<MemberRoom> => {
      const path = context.devices.get(number)?.path;
      if (path === undefined) throw new MdError("E_NO_DEVICE", `member ${number} is not on this host`);
      const device = await context.opener.open(path, { readOnly: true });
      await device.close();
      const blockBytes = device.logicalBlockSize;
      return { path, sectors: Math.max(0, device.size - dataOffset), blockBytes };
    }),
  );
}

/**
 * Makes our data plane and bitmap ready for `form`; nobody may use what is new to the array yet, and nobody any more what
 * is no longer part of it. `need`: bits of chunks that need a resync besides. An MdError is a refusal: nothing has changed.
 */
export async function prepareForm(context: NodeContext, form: Form, need: Uint8Array | null): Promise<void> {
  const { form: before } = context;
  const isShrinking = form.syncSize < before.syncSize;
  if (form.syncSize > before.syncSize)
    checkRoom(await memberRoom(context), memberSizeFor(context.array, form.syncSize));
  if (isShrinking && context.exported === "writable") {
    throw new MdError("E_HELD", `"${context.array.name}" is exported writable on ${context.deps.nodeName}`, {
      why: "what its clients have beyond the new end would be lost",
      hint: "unmap it there, or map it read-only",
    });
  }
  const lost = isShrinking ? await giveUpEnd(context, before, form.syncSize) : null;
  try {
    await takeForm(context, form, need);
  } catch (error) {
    if (isRefusal(error)) await setCapacity(context, context.array.size);
    throw error;
  }
  context.prepared = { before, lost };
}

/** Nobody may use anything beyond `end` any more. Returns our bits there, once they are needed no more. */
async function giveUpEnd(context: NodeContext, before: Form, end: Sector): Promise<Uint8Array> {
  await setCapacity(context, sector(Math.min(context.capacity, end)));
  try {
    return await bitsToLose(context, before, end);
  } catch (error) {
    if (error instanceof MdError) await setCapacity(context, context.array.size);
    throw error;
  }
}

/**
 * Our bits beyond `end`, which nobody writes to any more. Until the superblocks have the new size a power cut brings the old
 * one back without them: so what lies there is durable on all members first. E_DIRTY_BITMAP if one is missing, for which
 * they are kept; E_IO.
 */
async function bitsToLose(context: NodeContext, before: Form, end: Sector): Promise<Uint8Array> {
  const { array, devices } = context;
  const [failure] = await flushMembers(writableMembers(array), devices);
  if (failure !== undefined) throw failure.error;
  const lost = await lostBits(context, before, end);
  if (isDegraded(array) && lost.some((bits) => bits !== 0)) {
    throw new MdError("E_DIRTY_BITMAP", `"${array.name}" cannot become smaller while a member is missing`, {
      why: "what has changed beyond the new end is still noted for it",
      hint: `mdctl re-add ${shortName(context)} missing`,
    });
  }
  return lost;
}

/** Back to what it was, as if it had never been prepared. */
export async function undoForm(context: NodeContext): Promise<void> {
  const { prepared } = context;
  if (prepared === null) return;
  await takeForm(context, prepared.before, prepared.lost);
  context.prepared = null;
  await setCapacity(context, context.array.size);
}

/** Sectors that clients may ask for; resolves when nothing beyond is in flight. Nobody is told of more than is served. */
export async function setCapacity(context: NodeContext, capacity: Sector): Promise<void> {
  if (capacity < context.capacity) context.capacity = capacity;
  await context.engine.send({ type: "setCapacity", capacity });
  context.capacity = capacity;
}

/** Refused before it has begun: the data plane is as it was. */
const isRefusal = (error: unknown): boolean =>
  error instanceof MdError && (error.code === "E_VALUE" || error.code === "E_MEMBER_ACTIVE");

/** With anything but a refusal this node cannot go on: what its bitmap says on disk is not known. */
export async function takeForm(context: NodeContext, form: Form, need: Uint8Array | null): Promise<void> {
  const { syncSize, raidDisks, chunkBytes } = form;
  const layout = bitmapLayout(syncSize, chunkBytes);
  const { chunkSectors } = layout;
  const shape = { syncSize, raidDisks, chunkSectors, need: need ?? new Uint8Array(bitBytes(layout)) };
  const change = context.engine.send({ type: "reshape", shape }).then(() => {
    context.form = form;
    context.array = { ...context.array, bitmap: { ...context.array.bitmap, layout } };
  });
  context.formChange = change.catch(() => {});
  try {
    await change;
  } catch (error) {
    if (error instanceof MdError && !isRefusal(error) && !(await context.engine.hasStopped())) {
      context.fail(`the data plane did not take another shape of the array: ${error.message}`);
    }
    throw error;
  }
}

/** Bits of our own that lie beyond `end`, as those of a bitmap of `form`. */
async function lostBits({ engine }: NodeContext, form: Form, end: Sector): Promise<Uint8Array> {
  const { bits } = await engine.send({ type: "queryBitmap" });
  const beyond = bitsOfRange(bitmapLayout(form.syncSize, form.chunkBytes), end, form.syncSize);
  return beyond.map((byte, i) => byte & (bits[i] ?? 0));
}
