import { hostname } from "node:os";
import { type CreateRequest, createArray, planCreate } from "../../array/create-array.ts";
import type { MdArray } from "../../array/md-array.ts";
import { MemberFlag } from "../../array/member.ts";
import type { MemberDevices } from "../../array/write-members.ts";
import { MdError } from "../../base/md-error.ts";
import { sector } from "../../base/units.ts";
import type { BlockDevice } from "../../blockdev/block-device.ts";
import { openFileDevice } from "../../blockdev/file-device.ts";
import { MOST_SLOTS } from "../../dlm/lockspace.ts";
import { parseRaid10Layout } from "../../superblock/raid10-layout.ts";
import { mdTime } from "../../superblock/superblock.ts";
import { mdUuidText, parseUuid } from "../../superblock/uuid.ts";
import { checkArrayName, shortName } from "../array-name.ts";
import { wholeSectors } from "../array-session.ts";
import { bitmapKind } from "../bitmap-kind-param.ts";
import type { Change, CreateData, CreateParams, Finding } from "../control-api.ts";
import type { Daemon } from "../daemon.ts";
import { describeArray } from "../describe.ts";
import { frontendOf } from "../frontend-param.ts";
import { type Candidate, lookAtCandidates, sizeFindings } from "../member-preflight.ts";
import { refuseRunning } from "../running-member.ts";
import { exportAssembled } from "./export-assembled.ts";
import type { Method } from "./method.ts";

export const DEFAULT_NODES = 4;
const DEFAULT_FLUSH_SECONDS = 5;

/**
 * Makes an array and starts it here. Everything is looked at and refused before the first byte is written; then it is
 * looked at once more while no other daemon of the cluster creates anything.
 */
export const create: Method<"create"> = {
  takesLocks: true,
  read: (reader) => ({
    name: reader.textOrNull("name"),
    level: readLevel(reader.count("level", 1, 10)),
    layout: reader.textOrNull("layout"),
    chunkBytes: reader.countOrNull("chunkBytes", 1, 2 ** 40),
    members: reader.textsOrNulls("members"),
    spares: reader.texts("spares"),
    writeMostly: reader.textsIfAny("writeMostly"),
    failfast: reader.textsIfAny("failfast"),
    bitmap: bitmapKind(reader.textOrNull("bitmap")),
    nodes: reader.countOrNull("nodes", 0, 1024),
    homeCluster: reader.textOrNull("homeCluster"),
    homehost: reader.textOrNull("homehost"),
    bitmapChunkBytes: reader.countOrNull("bitmapChunkBytes", 1, 2 ** 40),
    flushSeconds: reader.countOrNull("flushSeconds", 1, 65_535),
    sizeBytes: reader.countOrNull("sizeBytes", 1, Number.MAX_SAFE_INTEGER),
    dataOffsetBytes: reader.countOrNull("dataOffsetBytes", 1, Number.MAX_SAFE_INTEGER),
    uuid: reader.textOrNull("uuid"),
    assumeClean: reader.flag("assumeClean"),
    run: reader.flag("run"),
    force: reader.flag("force"),
    readOnly: reader.flag("readOnly"),
    fileMembers: reader.flag("fileMembers"),
    map: reader.flag("map"),
    frontend: frontendOf(reader.textOrNull("frontend")),
    dryRun: reader.flag("dryRun"),
  }),
  run: async (params, { daemon }) => {
    checkRequest(params, daemon);
    await prepare(daemon, params);
    if (params.dryRun) return { array: null, op: null, changes: changesOf((await prepare(daemon, params)).plan) };
    let operation = "";
    const data = await daemon.operations.run(`create ${params.name ?? ""}`.trim(), async (id) => {
      operation = id;
      return await daemon.membership.alone(() => createAndStart(daemon, params));
    });
    return { ...data, op: daemon.operations.get(operation) };
  },
};

function readLevel(level: number): CreateParams["level"] {
  if (level === 1 || level === 10) return level;
  throw new MdError("E_LEVEL_UNSUPPORTED", `level raid${level} is not supported; mdctl does raid1 and raid10`);
}

function readLayout({ level, layout, chunkBytes }: CreateParams): number | null {
  if (level !== 10 && (layout !== null || chunkBytes !== null)) {
    throw new MdError("E_USAGE", `--${layout === null ? "chunk" : "layout"} is for raid10`);
  }
  if (layout === null) return null;
  const word = parseRaid10Layout(layout);
  if (word === null) throw new MdError("E_VALUE", `layout: "${layout}" is no layout of raid10; n2 is`);
  return word;
}

function checkRequest(params: CreateParams, daemon: Daemon): void {
  const real = params.members.filter((path) => path !== null);
  if (real.length === 0) throw new MdError("E_USAGE", "at least one member must be real");
  if (params.members.length === 1 && !params.force) {
    throw new MdError("E_USAGE", "a mirror of one member is no mirror; add a member or the word 'missing'", {
      hint: "--force, if that is what you want",
    });
  }
  if ([...real, ...params.spares].some((path) => !path.startsWith("/")))
    throw new MdError("E_VALUE", "members must be absolute paths");
  if (isShared(params) && params.writeMostly.length > 0) {
    throw new MdError("E_USAGE", "write-mostly is not possible with a clustered bitmap");
  }
  const { nodes } = params;
  if (nodes !== null && nodes > MOST_SLOTS) {
    throw new MdError("E_VALUE", `${nodes} nodes are not possible: the maximum number of nodes is ${MOST_SLOTS}`);
  }
  if (!isShared(params) && (nodes !== null || params.homeCluster !== null)) {
    throw new MdError("E_USAGE", `bitmap ${params.bitmap}: one node alone uses the array, in no cluster`, {
      hint: "--bitmap=clustered",
    });
  }
  const cluster = params.homeCluster ?? daemon.config.cluster;
  if (cluster === daemon.config.cluster) return;
  throw new MdError("E_NOT_JOINED", `this node is in cluster "${daemon.config.cluster}", not in "${cluster}"`, {
    hint: `mdctl daemon --cluster=${cluster}`,
  });
}

const isShared = ({ bitmap }: CreateParams): boolean => (bitmap ?? "clustered") === "clustered";

interface Prepared {
  readonly plan: MdArray;
  readonly candidates: readonly Candidate[];
}

/** Looks, refuses, asks; changes nothing. */
async function prepare(daemon: Daemon, params: CreateParams): Promise<Prepared> {
  const name = checkArrayName(params.name ?? daemon.freeName(await namesOnDisk(daemon)));
  const { env, config } = daemon;
  const existing = daemon.sessions.find((session) => session.name === name);
  if (existing !== undefined) {
    throw new MdError("E_ARRAY_EXISTS", `${name} exists (uuid ${existing.uuid}, assembled on this node)`);
  }
  const paths = [...params.members.filter((path) => path !== null), ...params.spares];
  const candidates = await lookAtCandidates(paths, params.fileMembers || config.fileMembers);
  for (const candidate of candidates) await refuseRunning(daemon, candidate);
  const byPath = new Map(candidates.map((candidate) => [candidate.path, candidate]));
  const device = (path: string | null): CreateRequest["members"][number] => {
    const candidate = path === null ? undefined : byPath.get(path);
    if (candidate === undefined) return null;
    const flag = (paths: readonly string[], bit: number): number => (paths.includes(candidate.path) ? bit : 0);
    const devFlags = flag(params.writeMostly, MemberFlag.writeMostly) | flag(params.failfast, MemberFlag.failfast);
    return { ...candidate, deviceUuid: env.random.bytes(16), devFlags };
  };
  const { dataOffsetBytes, sizeBytes } = params;
  const plan = planCreate({
    name: `${params.homehost ?? (isShared(params) ? "any" : hostname())}:${name}`,
    uuid: params.uuid === null ? env.random.bytes(16) : parseUuid(params.uuid),
    level: params.level,
    layout: readLayout(params),
    stripeBytes: params.chunkBytes,
    created: mdTime(env.clock.wall()),
    bitmap: params.bitmap ?? "clustered",
    clusterName: params.homeCluster ?? config.cluster,
    slots: params.nodes ?? DEFAULT_NODES,
    members: params.members.map(device),
    spares: params.spares.flatMap((path) => device(path) ?? []),
    assumeClean: params.assumeClean,
    memberSize: sizeBytes === null ? null : sector(wholeSectors("size", sizeBytes)),
    dataOffset: dataOffsetBytes === null ? null : sector(wholeSectors("data-offset", dataOffsetBytes)),
    chunkBytes: params.bitmapChunkBytes,
    daemonSleep: params.flushSeconds ?? DEFAULT_FLUSH_SECONDS,
    badBlockLog: true,
  });
  const findings = [...candidates.flatMap((candidate) => candidate.findings), ...sizeFindings(candidates)];
  if (!params.run) mustBeConfirmed(findings);
  return { plan, candidates };
}

async function namesOnDisk(daemon: Daemon): Promise<readonly string[]> {
  return (await daemon.scan.all()).map(({ superblock }) => superblock.setName);
}

function mustBeConfirmed(findings: readonly Finding[]): void {
  const [first] = findings;
  if (first === undefined) return;
  throw new MdError("E_CONFIRM", first.text, { hint: "--run, to go on all the same", details: { findings } });
}

async function createAndStart(daemon: Daemon, params: CreateParams): Promise<Omit<CreateData, "op">> {
  const { plan, candidates } = await prepare(daemon, params);
  await writeAll(plan, candidates);
  const uuid = mdUuidText(plan.uuid);
  for (const { key, path } of candidates) if (key.startsWith("file")) daemon.scan.rememberFile(path);
  const changes = changesOf(plan);
  try {
    const memberPaths = candidates.map(({ path }) => path);
    const missing = params.members.includes(null);
    const session = await daemon.startArray(uuid, {
      memberPaths,
      name: shortName(plan.name),
      readOnly: params.readOnly,
      run: missing,
      force: false,
    });
    daemon.tell("info", "CREATED", session.name, `${session.name} was created with ${memberPaths.length} members`);
    await exportAssembled(session, params);
    return { array: await describeArray(daemon, session, true), changes };
  } catch (error) {
    if (error instanceof MdError && error.code === "E_PARTIAL") throw error;
    throw new MdError("E_PARTIAL", `the array ${plan.name} was created, but not started`, {
      why: error instanceof Error ? error.message : String(error),
      hint: `mdctl assemble uuid=${uuid}`,
      details: { changes },
      cause: error,
    });
  }
}

async function writeAll(plan: MdArray, candidates: readonly Candidate[]): Promise<void> {
  const opened: BlockDevice[] = [];
  try {
    for (const { path } of candidates) opened.push(await openFileDevice(path, { readOnly: false }));
    const devices: MemberDevices = new Map(
      plan.members.flatMap(({ number }, i) => {
        const device = opened[i];
        return device === undefined ? [] : [[number, device] as const];
      }),
    );
    await createArray(plan, devices);
  } finally {
    await Promise.all(opened.map((device) => device.close()));
  }
}

const changesOf = (plan: MdArray): readonly Change[] =>
  plan.members.map(({ number, raidDisk }) => ({
    what: "superblock and bitmaps",
    target: `member ${number}`,
    before: null,
    after: { array: plan.name, uuid: mdUuidText(plan.uuid), raidDisk },
  }));
