import type { OptionSpec } from "./option-spec.ts";

/** Valid before or after the verb. */
export const globalOptions: readonly OptionSpec[] = [
  { name: "help", short: "h", help: "help for the mode given so far" },
  { name: "version", short: "V", help: "version, on-disk format, protocol version" },
  { name: "verbose", short: "v", help: "more text" },
  { name: "quiet", short: "q", help: "errors only" },
  { name: "json", value: "pretty", optional: true, help: "one JSON document on stdout" },
  { name: "plain", short: "H", help: "tab-separated, no header" },
  { name: "export", short: "Y", help: "KEY=value lines" },
  { name: "no-color", help: "no colour" },
  { name: "color", value: "auto|always|never", help: "colour (auto: on a terminal)" },
  { name: "no-input", help: "never ask; a needed question becomes E_CONFIRM" },
  { name: "yes", short: "y", help: "answer yes to the question of this command" },
  { name: "config", value: "FILE|DIR|none", help: "where settings are read (/etc/mdctl/mdctl.conf)" },
  { name: "socket", value: "PATH", help: "daemon to talk to (/run/mdctl/mdctld.sock)" },
  { name: "timeout", value: "DUR", help: "give up waiting; the operation itself goes on (30s)" },
  { name: "trace-id", value: "ID", help: "correlation id for the logs" },
];
