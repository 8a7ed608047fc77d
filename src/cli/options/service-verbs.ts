import { daemonOptions } from "../../daemon/daemon-options.ts";
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
      { command: "mdctl daemon --lock-server=redis://10.0.0.5:6379", text: "with Redis" },
    ],
  },
  {
    name: "lockd",
    summary: "run the embedded lock server of this host",
    operands: "",
    options: [{ name: "linger", value: "DUR", help: "end this long after the last client left (never)" }],
    examples: [
      { command: "mdctl lockd --socket=/run/mdctl/lockd.sock", text: "until stopped" },
      { command: "mdctl lockd --socket=PATH --linger=60s", text: "as daemons start it" },
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
