import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { noFencing, readFence } from "../../src/daemon/fence-config.ts";
import { tempDir } from "../support/temp-dir.ts";

const refusalOf = (text: string): string => {
  try {
    readFence(text);
  } catch (error) {
    if (error instanceof MdError) return `${error.code} ${error.message}`;
  }
  return "accepted";
};

describe("the words of --fence", () => {
  it("are optional", () => {
    expect(readFence(null)).toBe(noFencing);
  });

  it("name methods and what belongs to them", () => {
    const text =
      'command=/usr/sbin/fence_x timeout=30s retries=2 verify=yes host-map=n1:1;n2:"port 2" ip=10.0.0.9 pill watchdog=/dev/watchdog';
    expect(readFence(text)).toEqual({
      agent: {
        command: "/usr/sbin/fence_x",
        timeoutMs: 30_000,
        retries: 2,
        verify: true,
        plugs: new Map([
          ["n1", "1"],
          ["n2", "port 2"],
        ]),
        pairs: new Map([["ip", "10.0.0.9"]]),
      },
      pill: true,
      reservations: false,
      watchdog: { device: "/dev/watchdog", timeoutMs: 10_000 },
    });
    expect(readFence("reservations")).toMatchObject({ agent: null, pill: false, reservations: true, watchdog: null });
  });

  it("take secrets from a file that nobody else can read", () => {
    const folder = tempDir("pairs");
    const file = join(folder.path, "pairs");
    writeFileSync(file, "# of the power switch\nusername=admin\npassword=a=b c\n", { mode: 0o600 });
    const { agent } = readFence(`command=/x pairs=${file}`);
    expect(Object.fromEntries(agent?.pairs ?? [])).toEqual({ username: "admin", password: "a=b c" });
    chmodSync(file, 0o644);
    expect(refusalOf(`command=/x pairs=${file}`)).toMatch(/^E_PERMISSION/);
    folder.remove();
  });

  it.each([
    ["", /names no method/],
    ["watchdog=/dev/watchdog", /names no method/],
    ["pil", /"pil" is neither/],
    ["command=/x command=/y", /given twice/],
    ["command=/x password=sesame", /belongs into a file/],
    ["command=/x action=on", /set for each call/],
    ["command=/x node=other", /set for each call/],
    ["command=/x timeout=soon", /not a duration/],
    ["command=/x timeout=1ms", /between/],
    ["command=/x retries=many", /0 to 9/],
    ["command=/x verify=perhaps", /yes or no/],
    ["command=/x host-map=n1", /not NODE:PLUG/],
    ["command=/x a\u0001b=1", /no name of a key/],
    ["pill timeout=3s", /"timeout=" has no meaning/],
    ["pill ip=10.0.0.1", /"ip=" has no meaning/],
    ["pill watchdog=watchdog0", /absolute path/],
    ["pill watchdog=/dev/watchdog watchdog-timeout=1500ms", /whole seconds/],
  ])("are refused when they make no sense: %j", (text, why) => {
    expect(refusalOf(text)).toMatch(why);
    expect(refusalOf(text)).toMatch(/^E_VALUE/);
  });
});
