// Makes a fresh clone ready: npm packages, Debian packages, the build. `npm start` and `npm test` call it first, so it
// must be quick when there is nothing to do, and is plain JavaScript because nothing is installed yet.
//
//   node tools/setup.mjs start|test|bench|vm
//
// Exit status 3: something is missing and this user may not install it; it is named on stderr.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;
process.chdir(root);

/** What each purpose needs from Debian: package -> a file that proves that it is there. */
const forStart = { e2fsprogs: "sbin/mkfs.ext4", mdadm: "sbin/mdadm" };
const forTest = {
  ...forStart,
  openssl: "bin/openssl",
  "redis-server": "bin/redis-server",
  fio: "bin/fio",
  fuse3: "bin/fusermount3",
  "libnbd-bin": "bin/nbdcopy",
  "qemu-utils": "bin/qemu-img",
  "qemu-system-common": "bin/qemu-storage-daemon",
  xfsprogs: "sbin/mkfs.xfs",
  "xz-utils": "bin/xz",
  tmux: "bin/tmux",
  fish: "bin/fish",
  zsh: "bin/zsh",
  "groff-base": "bin/groff",
};
const forVm = { ...forTest, "qemu-system-x86": "bin/qemu-system-x86_64", "busybox-static": "bin/busybox" };
const needs = { start: forStart, test: forTest, bench: forTest, vm: forVm };

const purpose = process.argv[2] ?? "";
if (!(purpose in needs)) {
  process.stderr.write("usage: node tools/setup.mjs start|test|bench|vm\n");
  process.exit(2);
}

requireNode();
installNpmPackages();
installDebianPackages(needs[purpose]);
build();

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  stop(`mdctl needs Node.js 20.19 or later, this is ${process.versions.node}`);
}

function installNpmPackages() {
  const wanted = digest(["package-lock.json"]);
  if (read("node_modules/.cache/mdctl/lock") === wanted) return;
  run("npm", ["ci", "--loglevel=error"], "npm packages could not be installed");
  remember("lock", wanted);
}

function installDebianPackages(packages) {
  const missing = missingOf(packages);
  if (missing.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.join(" ")}`;
  if (process.getuid?.() !== 0) stop(`missing Debian packages: ${missing.join(" ")}`, `sudo ${command}`);
  if (spawnSync("apt-get", ["--version"]).status !== 0)
    stop(`missing programs, and no apt-get here: ${missing.join(" ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = () => spawnSync("sh", ["-c", command], { stdio: ["ignore", 2, 2], env }).status === 0;
  // A stale or empty package list is the usual reason for a failure: fetch it, then try once more.
  if (install()) return;
  spawnSync("apt-get", ["update"], { stdio: ["ignore", 2, 2], env });
  if (!install()) stop(`Debian packages could not be installed: ${missingOf(packages).join(" ")}`, command);
}

function missingOf(packages) {
  const there = (file) => ["/usr", "", "/usr/local"].some((prefix) => existsSync(`${prefix}/${file}`));
  return Object.keys(packages).filter((name) => !there(packages[name]));
}

function build() {
  const wanted = digest(["package-lock.json", "tsconfig.json", "tsconfig.build.json", ...filesOf("src")]);
  if (read("node_modules/.cache/mdctl/build") === wanted && existsSync("dist/cli/main.js")) return;
  run("npm", ["run", "--silent", "build"], "the build failed");
  remember("build", wanted);
}

function* filesOf(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesOf(path);
    else if (statSync(path).isFile()) yield path;
  }
}

function digest(files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update("\0").update(readFileSync(file));
  return hash.digest("hex");
}

function read(file) {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

function remember(name, value) {
  mkdirSync("node_modules/.cache/mdctl", { recursive: true });
  writeFileSync(`node_modules/.cache/mdctl/${name}`, value);
}

function run(command, args, failure) {
  // stdout belongs to the command that follows.
  if (spawnSync(command, args, { stdio: ["ignore", 2, 2] }).status !== 0) stop(failure);
}

function stop(problem, remedy) {
  process.stderr.write(`mdctl: ${problem}\n`);
  if (remedy !== undefined) process.stderr.write(`  try: ${remedy}\n`);
  process.exit(3);
}
