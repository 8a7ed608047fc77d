import { daemonOptions } from "../../daemon/daemon-options.ts";
import { faultHelp } from "./fault-kinds.ts";
import type { VerbSpec } from "./option-spec.ts";

export const serviceVerbs: readonly VerbSpec[] = [
  {
    name: "status",
    summary: "is anything wrong, what is going on, what to do",
    operands: "",
    options: [
      { name: "watch", value: "SECONDS", optional: true, help: "again whenever it changes" },
      { name: "test", short: "t", help: "exit 0 fine, 1 degraded, 2 failed, 4 unknown" },
      { name: "problems", help: "nothing when all is well" },
    ],
    examples: [
      { command: "mdctl status", text: "now" },
      { command: "mdctl status --watch", text: "until interrupted" },
    ],
  },
  {
    name: "mdstat",
    summary: "the text of /proc/mdstat",
    operands: "",
    options: [],
    examples: [
      { command: "mdctl mdstat", text: "for people and for parsers of /proc/mdstat" },
      { command: "watch -n1 mdctl mdstat", text: "again every second" },
    ],
  },
  {
    name: "events",
    summary: "what happened, from the daemon's journal",
    operands: "",
    options: [
      { name: "since", value: "SEQUENCE", help: "only newer ones" },
      { name: "follow", help: "go on with what happens from now" },
      { name: "array", value: "ARRAY", help: "only of this array" },
    ],
    examples: [
      { command: "mdctl events", text: "the history" },
      { command: "mdctl events --follow --json", text: "one JSON document a line" },
    ],
  },
  {
    name: "op",
    summary: "running and finished operations",
    operands: "list|show ID",
    options: [],
    examples: [
      { command: "mdctl op list", text: "all that the daemon remembers" },
      { command: "mdctl op show 7", text: "one" },
    ],
  },
  {
    name: "metrics",
    summary: "Prometheus text of this node",
    operands: "",
    options: [],
    examples: [
      { command: "mdctl metrics", text: "once" },
      { command: "mdctl metrics > /var/lib/node_exporter/mdctl.prom", text: "for a textfile collector" },
    ],
  },
  {
    name: "ping",
    summary: "does the daemon answer, and who is it",
    operands: "",
    options: [],
    examples: [
      { command: "mdctl ping", text: "exit 0 or 4" },
      { command: "mdctl ping --json", text: "version, node, lock server" },
    ],
  },
  {
    name: "daemon",
    summary: "run the daemon of a node in the foreground",
    operands: "",
    options: daemonOptions,
    examples: [
      { command: "mdctl daemon --node=n1 --cluster=alpha", text: "with the embedded lock server" },
      { command: "mdctl daemon --lock-server=redis://10.0.0.5:6379", text: "with Redis (docs/redis.md)" },
      {
        command: "mdctl daemon --lock-server=mdctl+tls://10.0.0.5:7100 --lock-server-ca=... (-cert, -key)",
        text: "with a lock server of ours on another host",
      },
    ],
  },
  {
    name: "lockd",
    summary: "run the embedded lock server, of this host or of a few",
    operands: "",
    options: [
      { name: "linger", value: "DUR", help: "end this long after the last client left (never)" },
      { name: "listen", value: "URL", help: "for other hosts: tls://HOST:PORT (tcp://127.0.0.1:PORT on this one)" },
      { name: "cert", value: "FILE", help: "the server's certificate in PEM, for the host that clients name" },
      { name: "key", value: "FILE", help: "its key; nobody else may read the file" },
      { name: "ca", value: "FILE", help: "who must have signed the clients' certificates (CN: the node's name)" },
    ],
    examples: [
      { command: "mdctl lockd --socket=/run/mdctl/lockd.sock", text: "until stopped" },
      { command: "mdctl lockd --socket=PATH --linger=60s", text: "as daemons start it" },
      {
        command: "mdctl lockd --listen=tls://10.0.0.5:7100 --cert=lockd.pem --key=lockd.key --ca=ca.pem",
        text: "for a few hosts",
      },
    ],
  },
  {
    name: "lock-functions",
    summary: "the functions that Redis needs as lock server, for FUNCTION LOAD",
    operands: "",
    options: [],
    examples: [
      {
        command: "mdctl lock-functions | redis-cli -u redis://admin@10.0.0.5:6379 -x FUNCTION LOAD",
        text: "where the daemons' user may not load them (docs/redis.md)",
      },
      { command: "mdctl lock-functions --json", text: "with the name of the library, which has its version" },
    ],
  },
  {
    name: "dashboard",
    summary: "full-screen view of the cluster",
    operands: "",
    options: [
      { name: "once", help: "one frame as plain text" },
      { name: "size", value: "COLSxROWS", help: "of that frame (the terminal's, else 80x24)" },
      { name: "refresh", value: "DUR", help: "how often it is drawn again (1s)" },
    ],
    examples: [
      { command: "mdctl dashboard", text: "q quits" },
      { command: "mdctl dashboard --once --size=120x40", text: "for a report" },
    ],
  },
  {
    name: "demo",
    summary: "two nodes, one mirror, a killed node, on this host in a temporary directory",
    operands: "",
    options: [
      { name: "lock-server", value: "URL", help: "use this Redis instead of a lock server of its own" },
      { name: "no-dashboard", help: "tell the story only" },
    ],
    examples: [
      { command: "mdctl demo", text: "needs no root and no disk" },
      { command: "mdctl demo --lock-server=redis://127.0.0.1:6379", text: "with Redis" },
    ],
  },
  {
    name: "simulate",
    summary: "the real cluster code in a simulated world, from a seed",
    operands: "",
    options: [
      { name: "seed", value: "N", help: "same seed, same run (from the clock)" },
      { name: "seeds", value: "N", help: "so many seeds, on all cores (1)" },
      { name: "first-seed", value: "N", help: "the first of them (from the clock)" },
      { name: "workers", value: "N", help: "processes that run them (one a core)" },
      { name: "nodes", value: "N", help: "1 to 8" },
      { name: "steps", value: "N", help: "events while things break" },
      { name: "faults", value: "LIST", help: faultHelp() },
      { name: "layout", value: "LAYOUT", help: "each array is a RAID10 with it" },
      { name: "bitmap", value: "KIND", help: "internal or none: arrays of one node (with --nodes=1)" },
      { name: "contention", help: "nodes write to the same blocks at once, as no cluster filesystem does" },
      { name: "without", value: "LIST", help: "numbers of faults that do not happen, as a shrunk failure says" },
      { name: "trace", value: "LINES", help: "of the transcript to show after a failure" },
      { name: "dlm", help: "lock managers alone, without an array" },
    ],
    examples: [
      { command: "mdctl simulate --dlm --seeds=1000 --faults=crash,restartLockServer", text: "only locks" },
      { command: "mdctl simulate --seed=1 --nodes=3", text: "one cluster" },
      { command: "mdctl simulate --seeds=100000 --first-seed=1 --faults=all", text: "a night's work" },
    ],
  },
  {
    name: "config",
    summary: "the configuration files: what is wrong, what holds and why, an example",
    operands: "[check|show|example]",
    options: [{ name: "origin", help: "show: file and line of each value, or what else it is from" }],
    examples: [
      { command: "mdctl config check", text: "everything that is wrong; exit 1 if anything is" },
      { command: "mdctl config show --origin", text: "every setting of the daemon" },
      { command: "mdctl config example > /etc/mdctl/mdctl.conf", text: "something to begin with" },
    ],
  },
  {
    name: "completion",
    summary: "the script that completes command lines of mdctl in a shell",
    operands: "bash|zsh|fish",
    options: [],
    examples: [
      { command: "source <(mdctl completion bash)", text: "in ~/.bashrc" },
      { command: "mdctl completion fish > ~/.config/fish/completions/mdctl.fish", text: "for fish" },
    ],
  },
  {
    name: "man",
    summary: "a page of the manual",
    operands: "[VERB|mdctld|mdctl.conf|json|cluster]",
    options: [],
    examples: [
      { command: "mdctl man create", text: "mdctl-create(8)" },
      { command: "mdctl man mdctl.conf > mdctl.conf.5", text: "its source, for man(1)" },
    ],
  },
  {
    name: "help",
    summary: "this, or the help of a verb",
    operands: "[VERB]",
    options: [],
    examples: [
      { command: "mdctl help create", text: "one verb" },
      { command: "mdctl --help-exit", text: "exit status" },
    ],
  },
];
