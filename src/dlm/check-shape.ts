/** May this value, which came from outside, stand here? */
export type Check = (value: unknown) => boolean;
export type Checks = Readonly<Record<string, Check>>;

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const integer: Check = (value) => Number.isSafeInteger(value);
export const natural: Check = (value) => integer(value) && (value as number) >= 0;
export const boolean: Check = (value) => typeof value === "boolean";
export const id: Check = (value) => typeof value === "string" && /^[A-Za-z0-9._-]{1,64}$/.test(value);

/** At most `longest` UTF-16 units. */
export const text =
  (longest: number): Check =>
  (value) =>
    typeof value === "string" && value.length <= longest;

export const oneOf =
  (...values: readonly string[]): Check =>
  (value) =>
    values.includes(value as string);

export const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

/** An object with these fields; it may have others. */
export const shape = (checks: Checks): Check => {
  const fields = Object.entries(checks);
  return (value) => isObject(value) && fields.every(([key, check]) => check(value[key]));
};

export const list =
  (longest: number, check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.length <= longest && value.every(check);
