import { mdErrorCodes } from "../../base/md-error.ts";
import { knownKeywords } from "../../daemon/config-file.ts";
import { daemonOptions } from "../../daemon/daemon-options.ts";
import { exitTable } from "../exit-status.ts";
import { globalOptions } from "../options/global-options.ts";
import type { OptionSpec, VerbSpec } from "../options/option-spec.ts";
import { verbs } from "../options/verbs.ts";
import type { Block, Page, Part } from "./roff.ts";

/** Every page there is. What a program knows of itself is taken from where it knows it. */
export const pages = (): readonly Page[] => [mdctl(), mdctld(), conf(), json(), cluster(), ...verbs.map(verbPage)];

/** `create`, `mdctl-create` or `mdctl.conf`; null if there is none. */
export function pageNamed(topic: string): Page | null {
  const names = [topic, `mdctl-${topic}`, `mdctl.${topic}`];
  return pages().find(({ name }) => names.includes(name)) ?? null;
}

const part = (title: string, ...blocks: readonly Block[]): Part => ({ title, blocks });

const seeAlso = (...others: readonly string[]): Part => part("SEE ALSO", others.map((name) => `*${name}*`).join(", "));

const everyVerb: Part = part("EVERYWHERE", "Before or after the verb:", ...globalOptions.map(optionBlock));

function optionBlock({ name, short, aliases = [], value, optional, help }: OptionSpec): Block {
  const argument = value === undefined ? "" : optional === true ? `[=${value}]` : `=${value}`;
  const names = [...(short === undefined ? [] : [`*-${short}*`]), ...[name, ...aliases].map((each) => `--${each}`)];
  return [`${names.join(", ")}${argument}`, help];
}

function verbPage(verb: VerbSpec): Page {
  const { name, summary, operands, options, examples } = verb;
  const own = options.map(optionBlock);
  return {
    name: `mdctl-${name}`,
    section: 8,
    summary,
    parts: [
      part("SYNOPSIS", `*mdctl ${name}* ${operands}`.trim()),
      part("EXAMPLES", ...examples.map(({ command, text }): Block => [command, text])),
      ...(own.length > 0 ? [part("OPTIONS", ...own)] : []),
      part("EXIT STATUS", "See *mdctl*(8)."),
      seeAlso("mdctl(8)", "mdctl-json(7)"),
    ],
  };
}

const mdctl = (): Page => ({
  name: "mdctl",
  section: 8,
  summary: "manage mirrors on disks that several hosts share",
  parts: [
    part(
      "SYNOPSIS",
      "*mdctl* VERB [ARRAY] [OPTION]... [MEMBER]...",
      "*mdctl* [ARRAY] MODE-OPTION [OPTION]... [MEMBER]...",
    ),
    part(
      "DESCRIPTION",
      "mdctl makes RAID1 and RAID10 arrays of disks that several hosts see, keeps their copies equal while all of these hosts write, and exports them as block devices. On the disks they are arrays of Linux md: *mdadm*(8) reads them.",
      "There are two spellings. A verb says what is to be done; or a mode option of mdadm does, in mdadm's order. Both reach the same code. Where one array is assembled on this node its name may be left out.",
      "mdctl asks *mdctld*(8), the daemon of this node, over a socket. What a daemon has begun it finishes, whether the mdctl that has asked is there or not: *mdctl op list*.",
    ),
    part("VERBS", ...verbs.map(({ name, summary }): Block => [`*mdctl-${name}*(8)`, summary])),
    everyVerb,
    part("EXIT STATUS", ...exitTable.map(([code, text]): Block => [`*${code}*`, text])),
    part(
      "ENVIRONMENT",
      ["*MDCTL_SOCKET*", "as --socket"],
      ["*MDCTL_CONFIG*", "as --config"],
      ["*MDCTL_FORMAT*", "json, plain or human"],
      ["*MDCTL_NO_INPUT*", "as --no-input"],
      ["*NO_COLOR*", "no colour"],
    ),
    files(),
    seeAlso("mdctld(8)", "mdctl.conf(5)", "mdctl-json(7)", "mdctl-cluster(7)", "mdadm(8)"),
  ],
});

const files = (): Part =>
  part(
    "FILES",
    ["*/etc/mdctl/mdctl.conf*, */etc/mdctl/mdctl.conf.d/*", "settings, see *mdctl.conf*(5)"],
    ["*/run/mdctl/mdctld.sock*", "where the daemon of this node listens"],
  );

const mdctld = (): Page => ({
  name: "mdctld",
  section: 8,
  summary: "the daemon of a node that uses mdctl arrays",
  parts: [
    part("SYNOPSIS", "*mdctld* [OPTION]..."),
    part(
      "DESCRIPTION",
      "One mdctld runs on each node. It holds the node's locks, writes to the members, copies what has to be copied, and exports the arrays. When it ends, other nodes take over what it has left to resync.",
      "Settings are taken from the command line, then from the environment, then from files (*mdctl.conf*(5)).",
    ),
    part("OPTIONS", ...daemonOptions.map(optionBlock)),
    part("SIGNALS", [
      "*SIGTERM*, *SIGINT*",
      "the arrays of this node are stopped, then the daemon ends; the other nodes go on",
    ]),
    part(
      "ENVIRONMENT",
      "*MDCTL_NODE*, *MDCTL_CLUSTER*, *MDCTL_LOCK_SERVER*, *MDCTL_SOCKET*, *MDCTL_FENCE* and *MDCTL_LOG* are as the options of these names.",
    ),
    files(),
    seeAlso("mdctl(8)", "mdctl.conf(5)", "mdctl-cluster(7)"),
  ],
});

const conf = (): Page => ({
  name: "mdctl.conf",
  section: 5,
  summary: "settings of mdctl and mdctld",
  parts: [
    part(
      "DESCRIPTION",
      "/etc/mdctl/mdctl.conf is read first, then /etc/mdctl/mdctl.conf.d/*.conf in lexical order, of which the last wins; with --config=FILE|DIR|none these instead. Stronger are the environment and the command line.",
      "The syntax is that of mdadm.conf: words, quotation marks, comments after #, indented lines go on with the one before, keywords in any case and shortened to three letters. Any word that has no effect is an error that names file and line.",
    ),
    part(
      "KEYWORDS",
      ...knownKeywords().map(
        ({ keyword, takes, options }): Block => [
          `*${keyword}* ${takes}`,
          options.length === 0
            ? "attributes that an array begins with when this node assembles it"
            : `as ${options.map((option) => `--${option}`).join(", ")} of *mdctld*(8)`,
        ],
      ),
    ),
    part("EXAMPLE", {
      lines: ["CLUSTER alpha lease=10s", "LOCKSERVER redis://10.0.0.5:6379 passwordfile=/etc/mdctl/redis.secret"],
    }),
    part("FILES", "A file with a password in it must not be readable by others."),
    seeAlso("mdctld(8)", "mdctl(8)"),
  ],
});

const json = (): Page => ({
  name: "mdctl-json",
  section: 7,
  summary: "what mdctl prints for programs",
  parts: [
    part(
      "DESCRIPTION",
      "With --json a command prints exactly one document and a newline, also when it fails; streams (*mdctl events --follow*, *mdctl status --watch*) one document a line. Fields are only ever added within a version of the schema.",
    ),
    part(
      "DOCUMENT",
      ["*schema*", "mdctl/1"],
      ["*command*", "the verb, in both spellings"],
      ["*ok*, *exitCode*", "the exit status of the process"],
      ["*time*", "RFC 3339, UTC"],
      ["*node*, *cluster*", "who has answered"],
      ["*data*", "the answer; null if there is none"],
      ["*warnings*", "code, message and hint of each"],
      ["*error*", "null, or code, message, hint, details and causes"],
    ),
    part(
      "VALUES",
      "Sizes and offsets are bytes (*Bytes*), durations seconds (*Seconds*), shares of a hundred *Percent*, rates *PerSecond*. What is not known is null. Enumerations are lower-case words. Members are sorted by slot, arrays by name.",
    ),
    part("ERROR CODES", mdErrorCodes.join(", ")),
    seeAlso("mdctl(8)"),
  ],
});

const cluster = (): Page => ({
  name: "mdctl-cluster",
  section: 7,
  summary: "how nodes share a mirror",
  parts: [
    part(
      "DESCRIPTION",
      "All nodes see the same disks and reach one lock server: Redis, or *mdctl lockd*. Each has a slot in an array, and in that slot a bitmap on every member that says where it may have left the copies different.",
      "A write is acknowledged when its bit was durable and all members in sync have it. mdctl keeps the copies equal; it does not order the writes of different hosts to one block. That is the task of what lies above: a cluster file system, or one that is mounted on one node at a time.",
    ),
    part(
      "LEASE",
      "A node writes while it has a lease at the lock server. A node that is silent for a whole lease is dead for the others: one of them takes its bitmap over and copies what it says. With --fence it is made sure of first.",
    ),
    part(
      "LOCK SERVER",
      "When it cannot be reached writes go on for as long as the leases last, then they wait. One that has forgotten what it knew is told anew by the nodes what they hold. *mdctl status* says FROZEN meanwhile, why, and until when.",
    ),
    part(
      "MEMBERS",
      "A member that has missed a write is known as faulty on every node before that write is acknowledged. The last good copy is never failed: its errors go to who has asked. One node at a time copies; the others say REMOTE.",
    ),
    part(
      "WHAT TO DO",
      ["mdctl status", "is anything wrong, and what to do about it"],
      ["mdctl node list", "who is there"],
      ["mdctl locks", "who waits for whom"],
      ["mdctl node evict NODE --confirm-dead", "a dead node that cannot be fenced, when you have seen that it is off"],
    ),
    seeAlso("mdctl(8)", "mdctld(8)", "md(4)"),
  ],
});
