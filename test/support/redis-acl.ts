import { readFileSync } from "node:fs";

/** The rights of the user of docs/redis.md, as words for ACL SETUSER: what comes after its name and password. */
export function aclRule(): string[] {
  const text = readFileSync(new URL("../../docs/redis.md", import.meta.url), "utf8");
  const rule = /^ACL SETUSER mdlm reset on >SECRET (.*?)^```$/ms.exec(text)?.[1];
  if (rule === undefined) throw new Error("docs/redis.md has no ACL rule");
  return rule.split(/\s+/).filter(Boolean);
}
