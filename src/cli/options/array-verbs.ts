import type { OptionSpec, VerbSpec } from "./option-spec.ts";

const force: OptionSpec = { name: "force", short: "f", help: "override a refusal that is about data risk" };
const fileMembers: OptionSpec = { name: "file-members", help: "regular files may be members (laboratories and tests)" };
const noMap: OptionSpec = { name: "no-map", help: "do not export the array here" };
const scan: OptionSpec = { name: "scan", short: "s", help: "every array that is found" };
const testFlag: OptionSpec = { name: "test", short: "t", help: "the exit status tells the state" };

const create: VerbSpec = {
  name: "create",
  summary: "make a new array of these members and start it here",
  operands: "[ARRAY] MEMBER...",
  options: [
    { name: "level", short: "l", value: "1|raid1|mirror|10|raid10", help: "required" },
    { name: "raid-devices", short: "n", value: "N", help: "members (default: as many as are given, less the spares)" },
    { name: "spare-devices", short: "x", value: "N", help: "spares (0)" },
    { name: "cluster", value: "NAME", optional: true, help: "clustered bitmap, of the daemon's cluster or of NAME" },
    { name: "bitmap", short: "b", value: "internal|clustered|none", help: "where writes are noted (internal)" },
    { name: "nodes", value: "N", help: "nodes that may use the array at once (4)" },
    { name: "home-cluster", value: "NAME", help: "cluster that it belongs to (the daemon's)" },
    { name: "bitmap-chunk", value: "SIZE", help: "bytes per bit (64M, or more where the space requires it)" },
    { name: "delay", short: "d", value: "SECONDS", help: "flush period of the bitmap (5)" },
    { name: "metadata", short: "e", value: "1.2", help: "superblock version" },
    { name: "name", short: "N", value: "NAME", help: "name in the superblock (last part of ARRAY)" },
    { name: "homehost", value: "NAME", help: "host in the superblock (any)" },
    { name: "size", short: "z", value: "SIZE", help: "of each member to use (the largest common size)" },
    { name: "data-offset", value: "SIZE", help: "where the data begins (as mdadm computes it)" },
    { name: "chunk", short: "c", value: "SIZE", help: "of a stripe, RAID10 only (512K)" },
    {
      name: "layout",
      short: "p",
      value: "LAYOUT",
      help: "RAID10 only: near, far or offset copies (n2, f2, o2); with a cluster near (n2)",
    },
    { name: "uuid", short: "u", value: "UUID", help: "of the array (random)" },
    { name: "assume-clean", help: "the members are equal already: no resync" },
    { name: "write-mostly", short: "W", help: "for the members after it; refused with a clustered bitmap" },
    { name: "readwrite", short: "w", help: "for the members after it" },
    { name: "failfast", help: "for the members after it" },
    { name: "nofailfast", help: "for the members after it" },
    { name: "readonly", short: "o", help: "start it read-only" },
    { name: "run", short: "R", help: "go on although something looks odd" },
    force,
    fileMembers,
    noMap,
    { name: "frontend", value: "auto|ublk|nbd", help: "how to export it (auto)" },
    { name: "dry-run", help: "show what would be written, write nothing" },
  ],
  examples: [
    { command: "mdctl create --level=1 --cluster /dev/disk/by-id/A /dev/disk/by-id/B", text: "the lowest free mdN" },
    { command: "mdctl create --level=10 --layout=n2 --cluster A B C D", text: "stripes over mirrors" },
    { command: "mdctl --create /dev/md/data -l1 -n2 -b clustered /dev/sdb /dev/sdc", text: "as with mdadm" },
  ],
};

const assemble: VerbSpec = {
  name: "assemble",
  summary: "start an existing array on this node",
  operands: "[ARRAY] [MEMBER...]",
  options: [
    { name: "uuid", short: "u", value: "UUID", help: "the array with this UUID" },
    { name: "name", short: "N", value: "NAME", help: "the array with this name" },
    scan,
    { name: "run", short: "R", help: "start it although members are missing" },
    { name: "no-degraded", help: "do not start it degraded" },
    force,
    { name: "readonly", short: "o", help: "start it read-only" },
    { name: "home-cluster", value: "NAME", help: "only arrays of this cluster" },
    {
      name: "update",
      short: "U",
      value: "WHAT",
      help: "nodes: how many may use it, with --nodes; bbl, no-bbl, force-no-bbl: its bad-block logs",
    },
    { name: "nodes", value: "N", help: "with --update=nodes" },
    noMap,
    fileMembers,
  ],
  examples: [
    { command: "mdctl assemble md0", text: "its members are found by their superblocks" },
    { command: "mdctl assemble --scan", text: "every array of this cluster" },
  ],
};

const markFlags: readonly OptionSpec[] = [
  { name: "write-mostly", short: "W", help: "for the members after it" },
  { name: "readwrite", short: "w", help: "for the members after it" },
  { name: "failfast", help: "for the members after it" },
  { name: "nofailfast", help: "for the members after it" },
];

/** The option spelling of add, fail and remove: any sequence of operations, each on the members after it. */
export const manageOptions: readonly OptionSpec[] = [
  { name: "add", short: "a", help: "add the members after it" },
  { name: "re-add", help: "put members back, only what they have missed is copied; also missing, faulty" },
  { name: "add-spare", help: "add the members after it, never as --re-add" },
  { name: "fail", short: "f", aliases: ["set-faulty"], help: "mark the members after it as faulty" },
  { name: "remove", short: "r", help: "remove the members after it" },
  { name: "replace", help: "have the members after it replaced by spares; they serve until these are filled" },
  { name: "with", help: "the spares for the members after --replace, in their order" },
  { name: "cluster-confirm", help: "NUMBER:DEVICE or NUMBER:missing, for udev rules: the daemon looks by itself" },
  ...markFlags,
  testFlag,
  { name: "force", help: "see --fail" },
  { name: "run", short: "R", help: "go on although something looks odd" },
  fileMembers,
];

const memberVerb = (name: string, summary: string, examples: VerbSpec["examples"]): VerbSpec => ({
  name,
  summary,
  operands: "[ARRAY] MEMBER...",
  options: [...markFlags, testFlag, { name: "force", short: "f", help: "see the manual" }, fileMembers],
  examples,
});

export const arrayVerbs: readonly VerbSpec[] = [
  create,
  assemble,
  {
    name: "stop",
    summary: "stop an array on this node; the other nodes go on",
    operands: "ARRAY...|--scan",
    options: [scan],
    examples: [
      { command: "mdctl stop md0", text: "one array" },
      { command: "mdctl --stop --scan", text: "all arrays of this node" },
    ],
  },
  memberVerb("add", "add a member, on all nodes", [
    { command: "mdctl --add /dev/sdX", text: "to the only array of this node" },
    { command: "mdctl add md0 /dev/disk/by-id/C", text: "to md0" },
  ]),
  memberVerb("re-add", "put a member back; only what it has missed is copied", [
    { command: "mdctl re-add md0 /dev/sdb", text: "removed, or faulty and still bound" },
    { command: "mdctl re-add md0 missing", text: "all that were members and can be seen here" },
  ]),
  memberVerb("add-spare", "add a spare, on all nodes, whatever it was before", [
    { command: "mdctl add-spare md0 /dev/sdd", text: "it fills the next vacant place" },
    { command: "mdctl md0 --add-spare /dev/sdd", text: "as with mdadm" },
  ]),
  memberVerb("fail", "mark a member as faulty, on all nodes", [
    { command: "mdctl fail md0 /dev/sdb", text: "no node writes to it after this returns" },
    { command: "mdctl md0 --fail sdb --remove sdb --add sdc", text: "several steps, in this order" },
  ]),
  memberVerb("remove", "take a faulty or spare member out", [
    { command: "mdctl remove md0 /dev/sdb", text: "one member" },
    { command: "mdctl remove md0 faulty", text: "all that have failed" },
  ]),
  {
    ...memberVerb("replace", "have a spare take the place of a member, which serves until the spare is filled", [
      { command: "mdctl replace md0 sdb", text: "by any spare; sdb is faulty when that is done" },
      { command: "mdctl replace md0 sdb --with sdc", text: "by this one" },
      { command: "mdctl md0 --add-spare /dev/sdc --replace sdb --with sdc", text: "as with mdadm" },
    ]),
    operands: "[ARRAY] MEMBER... [--with MEMBER...]",
    options: [
      { name: "with", help: "the spares after it, in the order of the members" },
      ...markFlags,
      testFlag,
      fileMembers,
    ],
  },
  {
    name: "grow",
    summary: "change the size, the number of members or the bitmaps, on all nodes",
    operands: "[ARRAY] [--add MEMBER...]",
    options: [
      { name: "size", short: "z", value: "SIZE|max", help: "of each member to use; what is new is resynced" },
      {
        name: "raid-devices",
        short: "n",
        value: "N",
        help: "members; more take spares at once, fewer need vacant places",
      },
      { name: "add", short: "a", help: "add the members after it in the same step" },
      { name: "bitmap-chunk", value: "SIZE", help: "bytes per bit of the bitmaps" },
      { name: "chunk", short: "c", value: "SIZE", help: "raid10 with a copy on each member: bytes of a chunk" },
      { name: "assume-clean", help: "what is new is equal on all members: no resync" },
      {
        name: "bitmap",
        short: "b",
        value: "none|internal|clustered",
        help: "only while no other node has the array",
      },
      { name: "nodes", value: "N", help: "nodes that may use it at once; only while no other node has it" },
      { name: "array-size", short: "Z", value: "SIZE", help: "refused for clustered arrays" },
      { name: "dry-run", help: "show what would change, change nothing" },
      force,
      { name: "confirm", value: "NAME", help: "with --force: shrink this array without a question" },
    ],
    examples: [
      { command: "mdctl grow md0 --size=max", text: "all that the members have, on all nodes" },
      { command: "mdctl --grow /dev/md/data --raid-devices=3 --add /dev/sdd", text: "one more mirror" },
      { command: "mdctl grow md0 --bitmap=none", text: "one node alone uses it from now on" },
      { command: "mdctl grow md0 --size=100G --force --confirm=md0", text: "smaller, without a question" },
    ],
  },
  {
    name: "detail",
    summary: "everything about an assembled array",
    operands: "[ARRAY]",
    options: [
      { name: "brief", short: "b", help: "one ARRAY line" },
      { name: "scan", short: "s", help: "an ARRAY line for every array" },
      { name: "no-devices", help: "without the members" },
      testFlag,
    ],
    examples: [
      { command: "mdctl detail", text: "the only array of this node" },
      { command: "mdctl --detail --test md0", text: "exit 0 fine, 1 degraded, 2 failed, 4 unknown" },
    ],
  },
  {
    name: "examine",
    summary: "the superblock of a member; works without a daemon, on images too",
    operands: "MEMBER...",
    options: [
      { name: "brief", short: "b", help: "one ARRAY line" },
      { name: "scan", short: "s", help: "as --brief" },
    ],
    examples: [
      { command: "mdctl examine /dev/sdb", text: "a disk" },
      { command: "mdctl -E disk0.img", text: "an image file" },
    ],
  },
  {
    name: "examine-bitmap",
    summary: "the write-intent bitmaps of a member, one per node slot",
    operands: "MEMBER...",
    options: [{ name: "chunks", help: "list the dirty ranges" }],
    examples: [
      { command: "mdctl examine-bitmap /dev/sdb", text: "a disk" },
      { command: "mdctl -X disk0.img", text: "an image file" },
    ],
  },
  {
    name: "examine-badblocks",
    summary: "the list of bad blocks of a member",
    operands: "MEMBER...",
    options: [],
    examples: [
      { command: "mdctl examine-badblocks /dev/sdb", text: "a disk" },
      { command: "mdctl --examine-badblocks disk0.img", text: "an image file" },
    ],
  },
  {
    name: "zero-superblock",
    summary: "make members forget that they are part of an array",
    operands: "MEMBER...",
    options: [
      { name: "force", short: "f", help: "a superblock that cannot be read, too; and with --confirm: do not ask" },
      { name: "confirm", value: "NAME", help: "with --force: the array's name, instead of typing it" },
      { name: "dry-run", help: "show what would be wiped, wipe nothing" },
      fileMembers,
    ],
    examples: [
      { command: "mdctl zero-superblock /dev/sdb", text: "asks for the array's name" },
      { command: "mdctl zero-superblock /dev/sdb --force --confirm=md0", text: "without a question" },
    ],
  },
  {
    name: "query",
    summary: "what is this device",
    operands: "DEVICE",
    options: [],
    examples: [
      { command: "mdctl query /dev/sdb", text: "is it a member, and of what" },
      { command: "mdctl /dev/sdb", text: "the same" },
    ],
  },
  {
    name: "action",
    summary: "what this node copies or compares (idle, frozen, check, repair), and how fast",
    operands: "[ARRAY] [idle|frozen|check|repair]",
    options: [
      { name: "limit", value: "RATE", help: "bytes a second, e.g. 20M; max for no limit" },
      { name: "limit-min", value: "RATE", help: "so fast it goes on beside requests of clients, too" },
      { name: "from", value: "SIZE", help: "check or repair from here, e.g. 10G; whole 64K" },
      { name: "to", value: "SIZE", help: "and to here" },
      { name: "source", value: "MEMBER", help: "repair: its copy is right; needed where there are two copies" },
    ],
    examples: [
      { command: "mdctl action md0 check", text: "compare all copies; mdctl detail lists what differs" },
      { command: "mdctl --action=repair /dev/mdctl/md0", text: "by majority of three or more copies" },
      { command: "mdctl action md0 frozen", text: "until idle nothing is resynced or filled by this node" },
      { command: "mdctl action md0 --limit=20M", text: "from now on, also what runs already" },
      { command: "mdctl --action md0 --limit=max", text: "as fast as it can" },
      { command: "mdctl action md0 --limit-min=50M", text: "clients must make room for so much" },
    ],
  },
  {
    name: "scrub",
    summary: "compare all copies to the end, and report what differs",
    operands: "[ARRAY]",
    options: [
      { name: "repair", value: "off|majority|source=MEMBER", help: "what is done about it (off)" },
      { name: "limit", value: "RATE", help: "bytes a second, e.g. 20M; max for no limit" },
      { name: "from", value: "SIZE", help: "from here, e.g. 10G; whole 64K" },
      { name: "to", value: "SIZE", help: "and to here" },
    ],
    examples: [
      { command: "mdctl scrub md0", text: "exit 1 if copies differ" },
      { command: "mdctl scrub md0 --repair=source=/dev/sda", text: "two copies: nobody else can tell which is right" },
    ],
  },
  {
    name: "readonly",
    summary: "let no client of this node write, and copy nothing of an array that is not clustered",
    operands: "[ARRAY]",
    options: [{ name: "auto", help: "until the first write (read-auto)" }],
    examples: [
      { command: "mdctl readonly md0", text: "refused while it is exported for writing" },
      { command: "mdctl --readonly /dev/mdctl/md0", text: "as with mdadm" },
    ],
  },
  {
    name: "readwrite",
    summary: "let clients of this node write again",
    operands: "[ARRAY]",
    options: [],
    examples: [
      { command: "mdctl readwrite md0", text: "an export that is read-only stays so until it is mapped again" },
      { command: "mdctl -w /dev/mdctl/md0", text: "as with mdadm" },
    ],
  },
  {
    name: "wait",
    summary: "until no resync or recovery runs or is due, on any node",
    operands: "[ARRAY...]",
    options: [],
    examples: [
      { command: "mdctl wait md0", text: "with progress on a terminal" },
      { command: "mdctl wait --timeout=10m", text: "all arrays; exit 5 when it takes longer" },
    ],
  },
];
