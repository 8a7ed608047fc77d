import { MdError, type MdErrorCode } from "../../base/md-error.ts";

/** What a server says of itself in INFO; managed services forbid CONFIG. */
export interface ServerFacts {
  /** For people: `Redis 7.0.15`, `Valkey 8.1.1`. */
  readonly version: string;
  readonly role: string;
  readonly policy: string;
  readonly loading: boolean;
  readonly cluster: boolean;
}

export function readInfo(info: string): ServerFacts {
  const fields = new Map<string, string>();
  for (const line of info.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  const field = (name: string): string => fields.get(name) ?? "";
  // Valkey says redis_version 7.2.4 for old clients' sake, and its own beside it.
  const version = fields.has("valkey_version")
    ? `Valkey ${field("valkey_version")}`
    : `Redis ${field("redis_version")}`;
  return {
    version,
    role: field("role"),
    policy: field("maxmemory_policy"),
    loading: field("loading") === "1",
    cluster: field("cluster_enabled") === "1",
  };
}

/** Only a server that has functions, takes writes and loses nothing by itself may keep locks. Null: this one may. */
export function whyUnfit(facts: ServerFacts, about: string, cluster: boolean): MdError | null {
  const refuse = (code: MdErrorCode, why: string, hint: string): MdError =>
    new MdError(code, `the Redis at ${about} cannot keep locks: ${why}`, { hint });
  const [name = "", number = ""] = facts.version.split(" ");
  if (number === "") {
    return refuse("E_PROTOCOL_VERSION", "it does not tell its version", "redis-cli info server");
  }
  if (name === "Redis" && Number.parseInt(number, 10) < 7) {
    return refuse("E_PROTOCOL_VERSION", `it is version ${number}`, "use Redis 7.0 or newer, or Valkey");
  }
  if (facts.role !== "master") {
    const hint = "give the URL of the master, or of the sentinels: redis+sentinel://HOST:PORT,HOST:PORT/NAME";
    return refuse(
      "E_VALUE",
      `it is a ${facts.role === "slave" ? "replica" : facts.role || "server without a role"}`,
      hint,
    );
  }
  if (facts.policy !== "noeviction") {
    const why = `its maxmemory-policy ${facts.policy || "(not told)"} lets it drop keys`;
    return refuse("E_VALUE", why, "redis-cli config set maxmemory-policy noeviction");
  }
  if (facts.cluster !== cluster) {
    return facts.cluster
      ? refuse("E_VALUE", "it is a node of a Redis Cluster", "use redis+cluster://HOST:PORT,HOST:PORT")
      : refuse("E_VALUE", "it is no node of a Redis Cluster", "use redis://HOST:PORT");
  }
  return null;
}
