/** Options of the daemon as data: `mdctld`, `mdctl daemon` and the help read the same rows. */
export interface DaemonOption {
  readonly name: string;
  /** What the value is called; absent: a flag. */
  readonly value?: string;
  readonly help: string;
}

export const daemonOptions: readonly DaemonOption[] = [
  { name: "config", value: "FILE|DIR|none", help: "settings below that are not given (/etc/mdctl/mdctl.conf)" },
  { name: "node", value: "NAME", help: "this node's name (the host's)" },
  { name: "cluster", value: "NAME", help: "name of the cluster (mdctl)" },
  {
    name: "lock-server",
    value: "WORDS",
    help: "redis://HOST:PORT (docs/redis.md: also rediss:, +sentinel, +cluster, three or five of them), mdctl+tls://HOST:PORT or unix:PATH (a lock server of this host)",
  },
  { name: "lock-server-password-file", value: "FILE", help: "password for Redis; nobody else may read the file" },
  { name: "lock-server-ca", value: "FILE", help: "whose certificate the lock server must have, in PEM" },
  { name: "lock-server-cert", value: "FILE", help: "this node's certificate for the lock server" },
  { name: "lock-server-key", value: "FILE", help: "its key; nobody else may read the file" },
  { name: "socket", value: "PATH", help: "control socket (/run/mdctl/mdctld.sock)" },
  { name: "state-dir", value: "DIR", help: "where export sockets live (NODE beside the control socket)" },
  { name: "lease", value: "DUR", help: "silence after which a node is dead; the same on all nodes (10s)" },
  { name: "ping", value: "DUR", help: "how often this node says that it lives, 100ms to 10s (8 % of the lease)" },
  { name: "lost", value: "N", help: "pings in a lease, 5 to 100 (10)" },
  {
    name: "fence",
    value: "WORDS",
    help: "how a dead node is made sure of: command=PATH, pill, reservations (docs/fencing.md)",
  },
  { name: "file-members", help: "regular files may be members (laboratories and tests)" },
  { name: "ring", value: "auto|io_uring|threads", help: "how members are read and written (auto)" },
  { name: "sync-speed-min", value: "SIZE", help: "KiB per second that a resync copies beside clients, too (1000)" },
  { name: "sync-speed-max", value: "SIZE", help: "KiB per second that a resync may copy; 0: no limit (200M)" },
  { name: "io-timeout", value: "DUR", help: "a member that has not answered for so long is taken out; 0: never (30s)" },
  { name: "slow-io", value: "DUR", help: "what is late by so much is read from another copy; 0: never (2s)" },
  { name: "log-level", value: "LEVEL", help: "fatal, error, warn, info, debug or trace (info)" },
  { name: "log-format", value: "auto|json|pretty", help: "auto is pretty on a terminal" },
];

/** Option name -> value; true for a flag. */
export type DaemonSettings = ReadonlyMap<string, string | true>;
