import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Host } from "../support/daemons.ts";

const MEMBER_BYTES = 32 * 1024 * 1024;

let host: Host;
beforeEach(() => {
  host = new Host({ lease: "4s" });
});
afterEach(() => host.close());

/** Until the recording tells of it. */
async function told(file: string, what: string): Promise<void> {
  while (!existsSync(file) || !readFileSync(file, "utf8").includes(what)) await pause(20);
}

it("a recording of two daemons steps through, and replays", async () => {
  await Promise.all([host.start("n1"), host.start("n2")]);
  const [a, b] = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
  await host.data("n1", "create", "md0", "--level=1", "--cluster", "--file-members", a, b);
  await host.data("n2", "assemble", "md0", a, b);
  await host.data("n1", "wait", "md0");

  const files = ["n1", "n2"].map((node) => host.path(`${node}.trace`));
  const ends = ["n1", "n2"].map((node, at) => host.begin(node, "trace", "record", files[at] ?? ""));
  for (const file of files) await told(file, '"machine":"channel"');
  await host.data("n1", "fail", "md0", b);
  await host.data("n2", "remove", "md0", b);
  for (const file of files) await told(file, '"remove"');
  await host.data("n1", "add", "md0", b);
  for (const file of files) await told(file, '"newdisk"');
  for (const end of ends) expect(await end()).toBe(0);

  const replay = await host.run("n1", "trace", "replay", ...files);
  expect(replay).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^replay: ok$/m) });
  expect(replay.stdout).toMatch(/^n2 channel: [1-9]\d* steps, each as recorded$/m);
  expect(replay.stdout).toMatch(/^messages: [1-9]\d* said, [1-9]\d* heard$/m);

  const shown = await host.run("n1", "trace", "show", ...files);
  expect(shown.stdout).toMatch(/ n1 channel publish message=newdisk .* -> convert /);
  expect(shown.stdout).toMatch(/ n2 channel converted half=receiving .* -> deliver message=newdisk /);
  const [number] = /^ *(\d+) .* -> deliver message=newdisk /m.exec(shown.stdout)?.slice(1) ?? [];
  const step = await host.run("n1", "trace", "show", `--step=${number}`, ...files);
  expect(step.stdout).toMatch(
    /before .* receiving=reading .*\n {2}event .*\n {2}effect {2}deliver .*\n {2}after .* receiving=processing /,
  );

  const bent = host.path("bent.trace");
  writeFileSync(
    bent,
    readFileSync(files[1] ?? "", "utf8").replace('"effects":[{"type":"deliver"', '"effects":[{"type":"skip"'),
  );
  expect(await host.run("n1", "trace", "replay", bent)).toMatchObject({
    exitCode: 1,
    stdout: expect.stringMatching(/^n2 channel: step \d+ \(.*bent.trace, line \d+\): it did .*, the machine does /m),
  });
  const again = await host.run("n1", "trace", "record", files[0] ?? "");
  expect(again).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("trace record --force") });
  writeFileSync(bent, "a letter\n");
  const letter = await host.run("n1", "trace", "show", bent);
  expect(letter).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("line 1: this is not JSON") });
}, 120_000);
