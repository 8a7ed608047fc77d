import { resolve } from "node:path";
import { MdError } from "../../base/md-error.ts";
import { parseDuration } from "../../daemon/parse-duration.ts";
import { runLockd } from "../../daemon/run-lockd.ts";
import type { Command } from "../command.ts";

const DEFAULT_LOCKD_SOCKET = "/run/mdctl/lockd.sock";

export const lockd: Command = async (invocation, { cwd }) => {
  const socketPath = resolve(cwd, invocation.value("socket") ?? DEFAULT_LOCKD_SOCKET);
  const linger = invocation.value("linger");
  const path = (option: string): string | null => {
    const given = invocation.value(option);
    return given === null ? null : resolve(cwd, given);
  };
  const served = await runLockd({
    socketPath,
    lingerMs: linger === null ? null : parseDuration("linger", linger),
    listen: invocation.value("listen"),
    files: { ca: path("ca"), cert: path("cert"), key: path("key") },
  });
  if (!served) throw new MdError("E_DAEMON", `another lock server listens on ${socketPath}`);
  return { data: null, text: "", streamed: true };
};
