import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * The entry for `suite` of the archive that this machine itself installs from, as the text of a .sources file: its own first
 * entry of a Debian release, with the suite replaced. Entries for updates and security lie elsewhere or lack the kernel's
 * meta package. Throws when apt has no such entry.
 */
export function aptSourceOf(suite: string, etc = "/etc/apt"): string {
  const release = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "stable";
  const parts = join(etc, "sources.list.d");
  const files = [
    join(etc, "sources.list"),
    ...(existsSync(parts) ? readdirSync(parts).map((f) => join(parts, f)) : []),
  ];
  for (const file of files.filter((name) => existsSync(name))) {
    const text = readFileSync(file, "utf8");
    if (file.endsWith(".sources")) {
      const found = inStanzas(text, release, suite);
      if (found !== null) return found;
    } else if (file.endsWith(".list")) {
      const found = inLines(text, release, suite);
      if (found !== null) return found;
    }
  }
  throw new Error(`apt has no entry for ${release} under ${etc}: the test kernel is fetched from the same archive`);
}

/** deb822: paragraphs of `Field: value`. */
function inStanzas(text: string, release: string, suite: string): string | null {
  for (const stanza of text.replace(/^#.*\n/gm, "").split(/\n\s*\n/)) {
    const suites = /^Suites:(.*)$/m.exec(stanza)?.[1]?.trim().split(/\s+/) ?? [];
    if (!/^Types:.*\bdeb\b/m.test(stanza) || !suites.some((name) => name === release || name === "stable")) continue;
    return `${stanza.trim().replace(/^Suites:.*$/m, `Suites: ${suite}`)}\n`;
  }
  return null;
}

/** `deb [options] uri suite components`. */
function inLines(text: string, release: string, suite: string): string | null {
  for (const line of text.split("\n")) {
    const [, options = "", uri = "", name = "", components = ""] =
      /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)$/.exec(line.trim()) ?? [];
    if (name !== release && name !== "stable") continue;
    const signedBy = /signed-by=(\S+)/.exec(options)?.[1];
    const fields = ["Types: deb", `URIs: ${uri}`, `Suites: ${suite}`, `Components: ${components}`];
    return `${[...fields, ...(signedBy === undefined ? [] : [`Signed-By: ${signedBy}`])].join("\n")}\n`;
  }
  return null;
}
