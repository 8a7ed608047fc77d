/** Options of the daemon as data: `mdctld`, `mdctl daemon` and the help read the same rows. */
export interface DaemonOption {
  readonly name: string;
  /** What the value is called; absent: a flag. */
  readonly value?: string;
  /** With what is built in, in brackets. */
  readonly help: string;
  /** What holds when nobody says otherwise. */
  readonly builtIn?: string;
  /** The environment variable that says the same. */
  readonly variable?: string;
}

type More = Pick<DaemonOption, "builtIn" | "variable">;

const option = (name: string, value: string, help: string, more: More = {}): DaemonOption => ({
  name,
  value,
  help: more.builtIn === undefined ? help : `${help} (${more.builtIn})`,
  ...more,
});

export const daemonOptions: readonly DaemonOption[] = [
  option("config", "FILE|DIR|none", "settings below that are not given", {
    builtIn: "/etc/mdctl/mdctl.conf",
    variable: "MDCTL_CONFIG",
  }),
  option("node", "NAME", "this node's name", { builtIn: "the host's", variable: "MDCTL_NODE" }),
  option("cluster", "NAME", "name of the cluster", { builtIn: "mdctl", variable: "MDCTL_CLUSTER" }),
  option(
    "lock-server",
    "WORDS",
    "redis://HOST:PORT (docs/redis.md: also rediss:, +sentinel, +cluster, three or five of them), mdctl+tls://HOST:PORT or unix:PATH",
    { builtIn: "a lock server of this host", variable: "MDCTL_LOCK_SERVER" },
  ),
  option("lock-server-password-file", "FILE", "password for Redis; nobody else may read the file", {
    variable: "MDCTL_LOCK_SERVER_PASSWORD_FILE",
  }),
  option("lock-server-ca", "FILE", "whose certificate the lock server must have, in PEM", {
    variable: "MDCTL_LOCK_SERVER_CA",
  }),
  option("lock-server-cert", "FILE", "this node's certificate for the lock server", {
    variable: "MDCTL_LOCK_SERVER_CERT",
  }),
  option("lock-server-key", "FILE", "its key; nobody else may read the file", { variable: "MDCTL_LOCK_SERVER_KEY" }),
  option("socket", "PATH", "control socket", { builtIn: "/run/mdctl/mdctld.sock", variable: "MDCTL_SOCKET" }),
  option("state-dir", "DIR", "where export sockets live", { builtIn: "NODE beside the control socket" }),
  option("lease", "DUR", "silence after which a node is dead; the same on all nodes", { builtIn: "10s" }),
  option("ping", "DUR", "how often this node says that it lives, 100ms to 10s", { builtIn: "8 % of the lease" }),
  option("lost", "N", "pings in a lease, 5 to 100", { builtIn: "10" }),
  option("fence", "WORDS", "how a dead node is made sure of: command=PATH, pill, reservations (docs/fencing.md)", {
    variable: "MDCTL_FENCE",
  }),
  { name: "file-members", help: "regular files may be members (laboratories and tests)", builtIn: "no" },
  option("ring", "auto|io_uring|threads", "how members are read and written", { builtIn: "auto" }),
  option("sync-speed-min", "SIZE", "KiB per second that a resync copies beside clients, too", { builtIn: "1000" }),
  option("sync-speed-max", "SIZE", "KiB per second that a resync may copy; 0: no limit", { builtIn: "200M" }),
  option("io-timeout", "DUR", "a member that has not answered for so long is taken out; 0: never", { builtIn: "30s" }),
  option("slow-io", "DUR", "what is late by so much is read from another copy; 0: never", { builtIn: "2s" }),
  option("log-level", "LEVEL", "fatal, error, warn, info, debug or trace", { builtIn: "info", variable: "MDCTL_LOG" }),
  option("log-format", "auto|json|pretty", "auto is pretty on a terminal", { builtIn: "auto" }),
];

/** The environment variable of each option that has one. */
export const variableOf: ReadonlyMap<string, string> = new Map(
  daemonOptions.flatMap(({ name, variable }) => (variable === undefined ? [] : [[name, variable] as const])),
);

/** Option name -> value; true for a flag. */
export type DaemonSettings = ReadonlyMap<string, string | true>;
