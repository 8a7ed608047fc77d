import { createHash, randomBytes } from "node:crypto";
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { expect } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, CreateData, Mapping } from "../../src/daemon/control-api.ts";
import { type Host, runProgram } from "../support/daemons.ts";

export interface OurArray {
  readonly name: string;
  /** Names of its disks, in the order of their raid disks; spares last. */
  readonly disks: readonly string[];
  readonly info: ArrayInfo;
  /** All that it holds. */
  readonly content: Buffer;
}

export const BITMAP_CHUNK = 64 * 1024;

/** Creates an array of member files of the host, waits for its first resync and fills it with chance. */
export async function createOurs(
  host: Host,
  name: string,
  disks: readonly string[],
  options: readonly string[],
): Promise<OurArray> {
  const paths = disks.map((disk) => host.path(disk));
  const chunk = options.includes("--bitmap=none") ? [] : [`--bitmap-chunk=${BITMAP_CHUNK / 1024}K`];
  const { array } = await host.data<CreateData>("n1", "create", name, ...options, ...chunk, ...paths);
  await host.data("n1", "wait", name);
  if (array === null) throw new Error(`${name} was not created`);
  const content = randomBytes(array.sizeBytes);
  await fill(host, name, content);
  return { name, disks, info: await detailOf(host, name), content };
}

async function fill(host: Host, name: string, content: Buffer): Promise<void> {
  const file = host.path(`${name}.content`);
  writeFileSync(file, content);
  const outcome = await runProgram("nbdcopy", ["--flush", file, await uriOf(host, name)]);
  expect(outcome).toMatchObject({ exitCode: 0 });
}

/** All that an array holds, read through the daemon. */
export async function contentOf(host: Host, name: string): Promise<Buffer> {
  const file = host.path(`${name}.back`);
  expect(await runProgram("nbdcopy", [await uriOf(host, name), file])).toMatchObject({ exitCode: 0 });
  return readFileSync(file);
}

export const md5 = (bytes: Buffer): string => createHash("md5").update(bytes).digest("hex");

export async function detailOf(host: Host, name: string): Promise<ArrayInfo> {
  return (await host.data<{ array: ArrayInfo }>("n1", "detail", name)).array;
}

async function uriOf(host: Host, name: string): Promise<string> {
  return (await host.data<{ mapping: Mapping }>("n1", "map", name)).mapping.uri;
}

/** Writes a piece of an array through the daemon, durably. */
export async function writePiece(host: Host, name: string, at: number, piece: Buffer): Promise<void> {
  const client = await NbdClient.connect(await uriOf(host, name));
  await client.write(at, piece);
  await client.flush();
  await client.close();
}

/**
 * Writes the first `bytes` of each array's content again and again, and kills the daemon meanwhile: the bitmap's bits are set,
 * and an array without a bitmap calls itself active.
 */
export async function killWriting(host: Host, arrays: readonly OurArray[], bytes: number): Promise<void> {
  const writers: Promise<void>[] = [];
  for (const { name, disks, content } of arrays) {
    await host.data("n1", "assemble", name, ...disks.map((disk) => host.path(disk)));
    const client = await NbdClient.connect(await uriOf(host, name));
    const front = content.subarray(0, bytes);
    await client.write(0, front);
    const write = async (): Promise<void> => {
      for (;;) await client.write(0, front);
    };
    // Two at a time: one is always under way.
    writers.push(write(), write());
  }
  for (const writer of writers) writer.catch(() => {}); // they end when the daemon is gone
  await host.end("n1", "SIGKILL");
  await Promise.allSettled(writers);
}

/** Other bytes in a member's data than its mirror has: what a crash leaves of a write that has reached one copy only. */
export function tear(host: Host, disk: string, dataOffset: number, at: number, bytes: number): void {
  const file = openSync(host.path(disk), "r+");
  writeSync(file, randomBytes(bytes), 0, bytes, dataOffset + at);
  closeSync(file);
}
