import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { NbdClient } from "../../blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, HistoryEvent, Mapping } from "../../daemon/control-api.ts";
import { sleep } from "../../env/clock.ts";
import { realClock, realRandom } from "../../env/real-env.ts";
import { firstDifference } from "./compare-members.ts";
import type { DemoHost } from "./demo-host.ts";
import type { Narrator } from "./narrator.ts";
import { BLOCK_BYTES } from "./pattern.ts";
import { VerifyingWriter } from "./verifying-writer.ts";
import { waitForEvent } from "./wait-for-event.ts";

const MIB = 1024 * 1024;
export const MEMBER_BYTES = 256 * MIB;
/** The filesystem takes the front of the array, the workload the rest. */
const IMAGE_BYTES = 96 * MIB;
const CHUNK_BYTES = MIB;
/** A bit is cleared two to three of these after its last write (mdadm's default is 5). */
const FLUSH_SECONDS = 1;
/** The part of the array that n1 writes when it is killed: what must be copied afterwards, and no more. */
const WRITTEN_BYTES = 24 * MIB;
const CLEAN_LIMIT_MS = 20_000;
const TAKEOVER_LIMIT_MS = 20_000;
const RESYNC_LIMIT_MS = 30_000;
const LEASE = "2s";
const WRITES_BEFORE_THE_KILL = 2000;
const DEPTH = 16;

/** The facts of the last line. */
export interface DemoFacts {
  readonly takeover_ms: number;
  readonly dirty_chunks: number;
  readonly resynced_bytes: number;
  readonly mirrors: "identical";
}

/** A step did not hold: `demo: FAILED step=...`. */
export class StepFailed extends Error {
  override readonly name = "StepFailed";
}

/** Two nodes, one mirror, a filesystem, a killed node. Throws at the first thing that does not hold. */
export async function runDemo(host: DemoHost, tell: Narrator): Promise<DemoFacts> {
  const array = await buildCluster(host, tell);
  const image = await copyFilesystem(host, tell, array.sizeBytes);
  await untilClean(host, tell);
  const { writer, killedAt } = await killUnderLoad(host, tell);
  const takeover = await watchTakeover(host, tell, killedAt);
  await verifyThroughSurvivor(host, tell, image, writer);
  await compareMirrors(host, tell);
  return { ...takeover, mirrors: "identical" };
}

async function buildCluster(host: DemoHost, tell: Narrator): Promise<ArrayInfo> {
  tell.step("daemons", `two nodes on this host, n1 and n2; lock server ${host.lockServer}`);
  await host.startLockServer();
  await Promise.all([host.startNode("n1", LEASE), host.startNode("n2", LEASE)]);

  tell.step("create", "n1: mdctl create md0 --level=1 --cluster disk-a.img disk-b.img (two files of 256 MiB)");
  const created = await host.mdctl<{ array: ArrayInfo }>(
    "n1",
    ...[
      "create",
      "md0",
      "--level=1",
      "--cluster",
      `--bitmap-chunk=${CHUNK_BYTES / 1024}K`,
      `--delay=${FLUSH_SECONDS}`,
      "--run",
      "--file-members",
      "--no-map",
    ],
    ...host.members,
  );
  tell.detail(
    `array ${created.array.uuid}, ${created.array.sizeBytes / MIB} MiB, ${created.array.nodesMax} node slots`,
  );

  tell.step("assemble", "n2: mdctl assemble md0; both nodes now write the same mirror");
  await host.mdctl("n2", "assemble", "md0", "--no-map", ...host.members);

  tell.step("resync", "the initial resync makes the mirrors equal");
  await host.mdctl("n1", "wait", "md0");
  await host.mdctl("n2", "wait", "md0");
  return created.array;
}

async function copyFilesystem(host: DemoHost, tell: Narrator, arrayBytes: number): Promise<Buffer> {
  tell.step("filesystem", "an ext4 image with this project's own sources in it is copied in through n1 over NBD");
  if (arrayBytes < IMAGE_BYTES + WRITTEN_BYTES) throw new StepFailed(`the array has only ${arrayBytes} bytes`);
  const image = join(host.folder, "filesystem.img");
  const sources = fileURLToPath(new URL("../../../src", import.meta.url));
  await host.run("/sbin/mkfs.ext4", ["-q", "-L", "mdctl-demo", "-d", sources, image, `${IMAGE_BYTES / MIB}M`]);
  const bytes = readFileSync(image);
  await withClient(host, "n1", async (client) => {
    for (let at = 0; at < bytes.length; at += MIB) await client.write(at, bytes.subarray(at, at + MIB));
    await client.flush();
  });
  tell.detail(`${bytes.length / MIB} MiB written and flushed`);
  return bytes;
}

/** Waits until n1's bits of the copy are cleared, so that those of the killed workload are seen alone. */
async function untilClean(host: DemoHost, tell: Narrator): Promise<void> {
  tell.step(
    "bitmap",
    "n1's write-intent bits are cleared some seconds after the last write, when all members have flushed",
  );
  const deadline = realClock.now() + CLEAN_LIMIT_MS;
  for (;;) {
    const { array } = await host.mdctl<{ array: ArrayInfo }>("n1", "detail", "md0");
    const dirty = array.bitmap?.slots.find(({ slot }) => slot === array.slot)?.dirty ?? null;
    tell.detail(`${dirty} of ${array.bitmap?.slots[0]?.bits} chunks dirty`);
    if (dirty === 0) return;
    if (realClock.now() > deadline) throw new StepFailed("the bits are not cleared");
    await sleep(realClock, 500);
  }
}

async function killUnderLoad(host: DemoHost, tell: Narrator) {
  tell.step("kill", `n1 writes random blocks, ${DEPTH} at a time; then SIGKILL, in the middle of it`);
  const region = { firstBlock: IMAGE_BYTES / BLOCK_BYTES, blocks: WRITTEN_BYTES / BLOCK_BYTES };
  const writer = new VerifyingWriter(region, realRandom);
  const stop = new AbortController();
  const client = await connect(host, "n1");
  const load = writer.run(client, DEPTH, stop.signal);
  const broken = load.then(() => {
    throw new StepFailed("the connection to n1 broke before the kill");
  });
  await Promise.race([writer.acknowledged(WRITES_BEFORE_THE_KILL), broken]);
  broken.catch(() => {});
  await host.kill("n1");
  const killedAt = realClock.now();
  stop.abort();
  await load;
  await client.close();
  tell.detail(`n1 is dead after ${writer.acknowledgedWrites} acknowledged writes`);
  return { writer, killedAt };
}

async function watchTakeover(host: DemoHost, tell: Narrator, killedAt: number) {
  tell.step("takeover", "n2 notices, takes n1's bitmap over and resyncs its dirty chunks, and only those");
  const show = (event: HistoryEvent): void => tell.detail(`${event.event}: ${event.text}`);
  const socket = host.socketOf("n2");
  const takeover = await waitForEvent(socket, ["TAKEOVER"], TAKEOVER_LIMIT_MS);
  const takeover_ms = Math.round(realClock.now() - killedAt);
  show(takeover);
  const dirty_chunks = Number(takeover.fields["dirty"]);
  if (!(dirty_chunks > 0)) throw new StepFailed("n1 was killed while it wrote, and yet its bitmap was clean");
  const finish = await waitForEvent(socket, ["FINISH"], RESYNC_LIMIT_MS, { after: takeover.sequence, seen: show });
  show(finish);
  const resynced_bytes = Number(finish.fields["sectors"]) * 512;
  if (resynced_bytes > dirty_chunks * CHUNK_BYTES) {
    throw new StepFailed(`${dirty_chunks} chunks were dirty, but ${resynced_bytes} bytes were copied`);
  }
  await host.mdctl("n2", "wait", "md0");
  return { takeover_ms, dirty_chunks, resynced_bytes };
}

async function verifyThroughSurvivor(
  host: DemoHost,
  tell: Narrator,
  image: Buffer,
  writer: VerifyingWriter,
): Promise<void> {
  tell.step("verify", "n2: every acknowledged write is there; the filesystem is read back and checked");
  await withClient(host, "n2", async (client) => {
    const { blocks, wrong } = await writer.verify(client);
    if (wrong.length > 0) throw new StepFailed(`${wrong.length} of ${blocks} blocks lost, first ${wrong[0]}`);
    tell.detail(`${blocks} blocks as acknowledged`);
    const back = join(host.folder, "read-back.img");
    const read = Buffer.alloc(image.length);
    for (let at = 0; at < image.length; at += MIB) (await client.read(at, MIB)).copy(read, at);
    if (!read.equals(image)) throw new StepFailed("the filesystem image is not what was written");
    writeFileSync(back, read);
    const { stdout } = await host.run("/sbin/e2fsck", ["-fn", back]);
    tell.detail(stdout.trim().split("\n").at(-1) ?? "");
  });
}

async function compareMirrors(host: DemoHost, tell: Narrator): Promise<void> {
  tell.step("mirrors", "n2 stops the array; outside the metadata the two files must be the same, byte for byte");
  const { array } = await host.mdctl<{ array: ArrayInfo }>("n2", "detail", "md0");
  await host.mdctl("n2", "stop", "md0");
  const areas = host.members.map((path) => ({ path, dataOffsetBytes: array.dataOffsetBytes }));
  const difference = await firstDifference(areas, array.sizeBytes);
  if (difference !== null) throw new StepFailed(`the mirrors differ at byte ${difference}`);
  tell.detail(`${array.sizeBytes} bytes compared`);

  tell.step("examine", "and stock mdadm reads our members: mdadm --examine disk-a.img");
  const { stdout } = await host.run("/sbin/mdadm", ["--examine", host.members[0]]);
  tell.detail(stdout.trimEnd());
  if (!stdout.includes("- correct")) throw new StepFailed("mdadm does not accept the superblock");
}

async function connect(host: DemoHost, node: string): Promise<NbdClient> {
  const { mapping } = await host.mdctl<{ mapping: Mapping }>(node, "map", "md0");
  return NbdClient.connect(mapping.uri);
}

async function withClient(host: DemoHost, node: string, use: (client: NbdClient) => Promise<void>): Promise<void> {
  const client = await connect(host, node);
  try {
    await use(client);
  } finally {
    await client.close();
  }
}
