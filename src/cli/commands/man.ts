import { spawnSync } from "node:child_process";
import { MdError } from "../../base/md-error.ts";
import { nearest } from "../../base/nearest.ts";
import { programVersion } from "../../daemon/version.ts";
import type { Command } from "../command.ts";
import { pageNamed, pages } from "../manual/pages.ts";
import { roff } from "../manual/roff.ts";

/** A page of the manual: shown on a terminal, as its source elsewhere. */
export const man: Command = async ({ operands }, context) => {
  const [topic = "mdctl", extra] = operands;
  if (extra !== undefined) throw new MdError("E_USAGE", `man does not take "${extra}"`, { hint: "mdctl man --help" });
  const page = pageNamed(topic);
  if (page === null) {
    const names = pages().map(({ name }) => name.replace(/^mdctl-/, ""));
    const meant = nearest(topic, names);
    throw new MdError("E_USAGE", `there is no page "${topic}"`, { hint: `mdctl man ${meant ?? "mdctl"}` });
  }
  const source = roff(page, programVersion());
  const { name, section } = page;
  const data = { name, section, source };
  if (!context.json && process.stdout.isTTY === true && show(source)) return { data, text: "" };
  return { data, text: source };
};

/** False: there is no man here. */
const show = (source: string): boolean =>
  spawnSync("man", ["-l", "-"], { input: source, stdio: ["pipe", "inherit", "inherit"] }).error === undefined;
