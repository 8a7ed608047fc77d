import { Redis } from "ioredis";
import { MdError } from "../../base/md-error.ts";
import { guardedConnector } from "./guarded-connector.ts";
import { type RedisAccess, readAccess, tlsTo } from "./redis-access.ts";
import { serverFault } from "./redis-faults.ts";
import type { LinkTarget } from "./redis-link.ts";
import { connectionOptions } from "./redis-options.ts";
import type { HostPort, RedisPlace } from "./redis-url.ts";

/** One that does not answer must not keep us from asking the others. */
const ASK_MS = 1000;

/**
 * The server that keeps the table now. `key`: any key of the lockspace (in a Redis Cluster it says which master);
 * null: any master will do. Rejects with an MdError that says who was asked and what they said.
 */
export async function locateMaster(place: RedisPlace, key: string | null): Promise<LinkTarget> {
  const access = readAccess(place);
  const { topology, db } = place;
  const target = (at: LinkTarget["at"]): LinkTarget => {
    const { username, password, tls } = access;
    return { at, tls: tlsTo(tls, at), username, password, db };
  };
  switch (topology.type) {
    case "single":
      return target(topology.at);
    case "socket":
      return target({ path: topology.path });
    case "sentinel":
      return target(await askSentinels(place.about, topology.sentinels, topology.master, access));
    case "cluster":
      return target(await askCluster(place.about, topology.seeds, key, access));
  }
}

/** All are asked: one that is cut off still names the old master. The newest configuration wins. */
async function askSentinels(
  about: string,
  sentinels: readonly HostPort[],
  master: string,
  access: RedisAccess,
): Promise<HostPort> {
  const credentials = { username: null, password: access.sentinelPassword, tls: access.tls };
  const answers = await Promise.allSettled(
    sentinels.map(async (at) => readMaster(await ask(at, credentials, [["SENTINEL", "MASTER", master]]))),
  );
  const known = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const [newest] = known.sort((a, b) => b.epoch - a.epoch);
  if (newest !== undefined) return newest.at;
  const said = answers.map((answer) => (answer.status === "rejected" ? whyOf(answer.reason) : ""));
  throw new MdError("E_LOCK_SERVICE_LOST", `the lock server ${about} does not answer`, {
    why: `no sentinel names a master: ${said.join("; ")}`,
    hint: `redis-cli -p 26379 sentinel master ${master}`,
  });
}

function readMaster([reply]: readonly unknown[]): { readonly at: HostPort; readonly epoch: number } {
  const words = Array.isArray(reply) ? reply.map(String) : [];
  const field = (name: string): string => words[words.findIndex((word, at) => at % 2 === 0 && word === name) + 1] ?? "";
  const at = { host: field("ip"), port: Number(field("port")) };
  const epoch = Number(field("config-epoch"));
  if (at.host === "" || !(at.port > 0) || Number.isNaN(epoch)) throw new Error("its answer names no master");
  return { at, epoch };
}

async function askCluster(
  about: string,
  seeds: readonly HostPort[],
  key: string | null,
  access: RedisAccess,
): Promise<HostPort> {
  const said: string[] = [];
  for (const seed of seeds) {
    const keySlot = key === null ? [] : [["CLUSTER", "KEYSLOT", key]];
    try {
      const [ranges, slot] = await ask(seed, access, [["CLUSTER", "SLOTS"], ...keySlot]);
      const owner = ownerOf(ranges, key === null ? null : Number(slot), seed);
      if (owner !== null) return owner;
      said.push(`${seed.host}:${seed.port} knows no owner of the keys`);
    } catch (error) {
      said.push(whyOf(error));
    }
  }
  throw new MdError("E_LOCK_SERVICE_LOST", `the lock server ${about} does not answer`, {
    why: `no node of the cluster names the owner of the keys: ${said.join("; ")}`,
    hint: "redis-cli cluster info",
  });
}

/** CLUSTER SLOTS: [first, last, [host, port, id, ...] of the master, replicas...]. No host: the one that was asked. */
function ownerOf(ranges: unknown, slot: number | null, asked: HostPort): HostPort | null {
  for (const range of Array.isArray(ranges) ? ranges : []) {
    const [first, last, master] = Array.isArray(range) ? range : [];
    if (slot !== null && !(slot >= Number(first) && slot <= Number(last))) continue;
    const [host, port] = Array.isArray(master) ? master : [];
    if (Number(port) > 0) return { host: host ? String(host) : asked.host, port: Number(port) };
  }
  return null;
}

type Credentials = Pick<RedisAccess, "username" | "password" | "tls">;

/** A connection for these questions only. */
async function ask(
  at: HostPort,
  { username, password, tls }: Credentials,
  commands: readonly (readonly string[])[],
): Promise<readonly unknown[]> {
  const about = `${at.host}:${at.port}`;
  const client = new Redis({
    ...connectionOptions("mdlm/locate", ASK_MS, guardedConnector({ at, tls: tlsTo(tls, at) })),
    connectTimeout: ASK_MS,
    ...(tls === null ? {} : { tls: {} }),
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
  });
  let lastError: unknown = null;
  client.on("error", (error: unknown) => {
    lastError = error;
  });
  try {
    await client.connect();
    return await Promise.all(commands.map(([name = "", ...args]) => client.call(name, ...args)));
  } catch (error) {
    throw serverFault(about, lastError ?? error);
  } finally {
    client.disconnect();
  }
}

const whyOf = (error: unknown): string =>
  error instanceof MdError ? `${error.message}${error.why === null ? "" : `: ${error.why}`}` : String(error);
