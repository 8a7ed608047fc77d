import type { VerbSpec } from "./option-spec.ts";

export const clusterVerbs: readonly VerbSpec[] = [
  {
    name: "map",
    summary: "export an array on this node; prints where",
    operands: "ARRAY",
    options: [
      { name: "frontend", value: "auto|ublk|nbd", help: "how (auto)" },
      { name: "listen", value: "HOST:PORT", help: "TCP on this host, or unix:PATH (a Unix socket of the daemon's)" },
      { name: "readonly", help: "refuse writes" },
      { name: "queues", value: "N", help: "ublk: queues (1)" },
      { name: "depth", value: "N", help: "ublk: requests a queue has at a time (128)" },
      { name: "recover", help: "ublk: only go on with a disk whose daemon died" },
    ],
    examples: [
      { command: "mdctl map md0", text: "prints /dev/ublkbN, or the path of a Unix socket where there is no ublk" },
      { command: "mdctl map md0 --recover", text: "after the daemon was killed: its users go on" },
      { command: "mdctl map md0 --listen=127.0.0.1:10809", text: "TCP" },
    ],
  },
  {
    name: "unmap",
    summary: "end an export",
    operands: "ARRAY|DEVICE",
    options: [{ name: "force", help: "although it is in use: what waits fails" }],
    examples: [
      { command: "mdctl unmap md0", text: "by array" },
      { command: "mdctl unmap /dev/ublkb0", text: "by what map printed" },
    ],
  },
  {
    name: "list",
    summary: "exported arrays",
    operands: "",
    options: [],
    examples: [
      { command: "mdctl list", text: "a table" },
      { command: "mdctl list --plain", text: "for scripts" },
    ],
  },
  {
    name: "node",
    summary: "the nodes of the cluster; evict: a dead node's locks go to the others; drain: this node leaves",
    operands: "list|evict NODE|drain NODE",
    options: [
      { name: "confirm-dead", help: "you vouch that the node writes no more: do not wait for the end of its lease" },
      { name: "force", short: "f", help: "with --confirm: do not ask" },
      { name: "confirm", value: "NODE", help: "with --force: the node's name, instead of typing it" },
    ],
    examples: [
      { command: "mdctl node list", text: "a table" },
      { command: "mdctl node drain n1", text: "on n1: its resyncs go on elsewhere, its arrays are stopped" },
      { command: "mdctl node evict n3", text: "waits until its lease has surely expired" },
      { command: "mdctl node evict n3 --confirm-dead", text: "at once: n3 is switched off, you have seen it" },
    ],
  },
  {
    name: "cluster",
    summary: "the cluster as this node sees it",
    operands: "status",
    options: [],
    examples: [
      { command: "mdctl cluster status", text: "exit 0 healthy, 1 degraded, 7 no lock service" },
      { command: "mdctl cluster status --json", text: "for scripts" },
    ],
  },
  {
    name: "locks",
    summary: "every lock of every node of an array",
    operands: "[ARRAY]",
    options: [],
    examples: [
      { command: "mdctl locks", text: "of the only array of this node" },
      { command: "mdctl locks md0 --json", text: "for scripts" },
    ],
  },
  {
    name: "messages",
    summary: "counts of protocol messages",
    operands: "[ARRAY]",
    options: [],
    examples: [
      { command: "mdctl messages", text: "of the only array of this node" },
      { command: "mdctl messages md0 --json", text: "for scripts" },
    ],
  },
  {
    name: "trace",
    summary: "record the protocol of a running array; step through it; replay it in the simulator",
    operands: "record|show|replay FILE...",
    options: [
      { name: "array", value: "ARRAY", help: "record: which one (the only one)" },
      { name: "for", value: "TIME", help: "record: stop after this long (when interrupted)" },
      { name: "force", short: "f", help: "record: overwrite FILE" },
      { name: "of", value: "NODE", help: "show: only this node's steps" },
      { name: "step", value: "N", help: "show: step N alone, with the states before and after it" },
    ],
    examples: [
      { command: "mdctl trace record n1.trace --for=30s", text: "half a minute of this node" },
      { command: "mdctl trace show n1.trace n2.trace", text: "what two nodes did, in the order of their clocks" },
      { command: "mdctl trace show n1.trace --step=17", text: "one step, whole" },
      { command: "mdctl trace replay n1.trace n2.trace", text: "exit 1 if a machine would have done something else" },
    ],
  },
];
