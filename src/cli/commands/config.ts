import { MdError } from "../../base/md-error.ts";
import { readConfigFiles } from "../../daemon/config-files.ts";
import { checkConfig, settingsInForce } from "../../daemon/config-report.ts";
import { errorInfo } from "../../daemon/error-info.ts";
import type { Command, CommandContext, CommandResult } from "../command.ts";
import { errorText } from "../error-text.ts";
import type { Invocation } from "../invocation.ts";
import { plainTable, table } from "../render/table.ts";

/** The files that a daemon reads: what is wrong with them, what holds, and how they look. Asks no daemon. */
export const config: Command = async (invocation, context) => {
  const [action = "show", extra] = invocation.operands;
  if (extra === undefined) {
    if (action === "check") return check(invocation, context);
    if (action === "show") return show(invocation, context);
    if (action === "example") return { data: { text: EXAMPLE }, text: EXAMPLE };
  }
  throw new MdError("E_USAGE", `config ${invocation.operands.join(" ")} is not available`, {
    hint: "mdctl config --help",
  });
};

const filesOf = (invocation: Invocation, { env }: CommandContext): string | null =>
  invocation.value("config") ?? env["MDCTL_CONFIG"] ?? null;

function check(invocation: Invocation, context: CommandContext): CommandResult {
  const { errors, warnings } = checkConfig(filesOf(invocation, context), context.env);
  const data = { errors: errors.map(errorInfo), warnings };
  const text = [...errors.map(errorText), ...warnings.map((warning) => `mdctl: ${warning}\n`)].join("");
  return { data, text: text === "" ? "nothing is wrong\n" : text, exitCode: errors.length > 0 ? 1 : 0 };
}

function show(invocation: Invocation, context: CommandContext): CommandResult {
  const settings = settingsInForce(readConfigFiles(filesOf(invocation, context)), context.env);
  const withOrigin = invocation.has("origin");
  const rows = settings.map(({ option, value, origin }) => [option, value ?? "-", ...(withOrigin ? [origin] : [])]);
  const heading = ["SETTING", "VALUE", ...(withOrigin ? ["FROM"] : [])];
  return { data: { settings }, text: table(heading, rows), plain: plainTable(rows) };
}

const EXAMPLE = `# /etc/mdctl/mdctl.conf: one line a keyword, indented lines go on with the one before.

# Silence of 10 s is a dead node's; the same on all nodes.
CLUSTER alpha lease=10s

# Where all nodes find their locks. Nobody else may read the file with the password.
LOCKSERVER redis://10.0.0.5:6379 passwordfile=/etc/mdctl/redis.secret

# A dead node is made sure of before its work is taken over.
FENCE command=/usr/sbin/fence_ipmilan timeout=60s
    "host-map=n1:10.0.1.1;n2:10.0.1.2"

# Copying: at least 1 MB/s beside clients, at most 200 MB/s.
SYNC speed-min=1000 speed-max=200M

# A member that hangs: read elsewhere after 2 s, taken out after 30 s.
SLOWIO threshold=2s
IOTIMEOUT 30s

LOG level=info format=auto
`;
