import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { MdError } from "../base/md-error.ts";

const LONGEST = 64 * 1024;

/**
 * The text of a file that only its owner may read, without the line end. E_VALUE if it cannot be read, E_PERMISSION if
 * others can read it.
 */
export function readSecretFile(path: string, what = "file with secrets"): string {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    throw unreadable(path, what, error);
  }
  try {
    const { mode, size } = fstatSync(file);
    if ((mode & 0o077) !== 0) {
      throw new MdError("E_PERMISSION", `the ${what} ${path} can be read by others`, { hint: `chmod 600 ${path}` });
    }
    if (size > LONGEST) throw new MdError("E_VALUE", `the ${what} ${path} has ${size} bytes: it is something else`);
    const text = readFileSync(file, "utf8").replace(/\r?\n$/, "");
    if (text === "") throw new MdError("E_VALUE", `the ${what} ${path} is empty`);
    return text;
  } catch (error) {
    throw error instanceof MdError ? error : unreadable(path, what, error);
  } finally {
    closeSync(file);
  }
}

/** A file that is no secret: a certificate. */
export function readPemFile(path: string, what: string): string {
  try {
    const text = readFileSync(path, "utf8");
    if (text.includes("-----BEGIN ")) return text;
  } catch (error) {
    throw unreadable(path, what, error);
  }
  throw new MdError("E_VALUE", `the ${what} ${path} is not in PEM form`);
}

const unreadable = (path: string, what: string, cause: unknown): MdError =>
  new MdError("E_VALUE", `the ${what} ${path} cannot be read`, {
    why: cause instanceof Error ? cause.message : String(cause),
    cause,
  });
