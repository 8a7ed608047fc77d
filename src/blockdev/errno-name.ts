import { getSystemErrorName } from "node:util";

/** `EPERM` for 1: for messages. */
export function errnoName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}
