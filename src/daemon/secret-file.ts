import { readFileSync, statSync } from "node:fs";
import { MdError } from "../base/md-error.ts";

/** A file with secrets in it. E_VALUE when it cannot be read, E_PERMISSION when others can read it. */
export function readSecretFile(file: string): string {
  let mode: number;
  let text: string;
  try {
    mode = statSync(file).mode;
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new MdError("E_VALUE", `the file ${file} cannot be read`, { cause: error });
  }
  if ((mode & 0o077) !== 0) {
    throw new MdError("E_PERMISSION", `the file ${file} has secrets in it and can be read by others`, {
      hint: `chmod 600 ${file}`,
    });
  }
  return text;
}
