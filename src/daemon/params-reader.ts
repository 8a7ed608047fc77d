import { MdError } from "../base/md-error.ts";

/** Longest text that a parameter may be: a path, a name. */
const MAX_TEXT = 4096;
const MAX_ITEMS = 4096;

/**
 * Reads the parameters of a request, believing nothing: every field is checked before it is used, and an unknown one
 * is an error rather than a silent difference. E_VALUE names method and field.
 */
export class ParamsReader {
  readonly #method: string;
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #read = new Set<string>();

  constructor(method: string, params: unknown) {
    this.#method = method;
    if (typeof params !== "object" || params === null || Array.isArray(params)) {
      throw new MdError("E_VALUE", `${method}: params is not an object`);
    }
    this.#fields = params as Record<string, unknown>;
  }

  text(name: string): string {
    return this.#text(name, this.#take(name));
  }

  textOrNull(name: string): string | null {
    const value = this.#take(name);
    return value === null || value === undefined ? null : this.#text(name, value);
  }

  /** Absent is false. */
  flag(name: string): boolean {
    const value = this.#take(name);
    if (value === undefined) return false;
    return typeof value === "boolean" ? value : this.#refuse(name, "a boolean");
  }

  count(name: string, least: number, most: number): number {
    return this.#count(name, this.#take(name), least, most);
  }

  /** With fractions. */
  quantity(name: string, least: number, most: number): number {
    const value = this.#take(name);
    if (typeof value === "number" && value >= least && value <= most) return value;
    return this.#refuse(name, `a number from ${least} to ${most}`);
  }

  countOrNull(name: string, least: number, most: number): number | null {
    const value = this.#take(name);
    return value === null || value === undefined ? null : this.#count(name, value, least, most);
  }

  word<T extends string>(name: string, words: readonly T[]): T {
    const value = this.#take(name);
    return words.find((word) => word === value) ?? this.#refuse(name, `one of ${words.join(", ")}`);
  }

  texts(name: string): readonly string[] {
    return this.#list(name).map((item) => this.#text(name, item));
  }

  /** None where a client, of an older version perhaps, does not speak of them. */
  textsIfAny(name: string): readonly string[] {
    return Object.hasOwn(this.#fields, name) ? this.texts(name) : [];
  }

  textsOrNulls(name: string): readonly (string | null)[] {
    return this.#list(name).map((item) => (item === null ? null : this.#text(name, item)));
  }

  objects<T>(name: string, read: (reader: ParamsReader) => T): readonly T[] {
    return this.#list(name).map((item) => {
      const reader = new ParamsReader(`${this.#method}.${name}`, item);
      const value = read(reader);
      reader.end();
      return value;
    });
  }

  /** Nothing that was not asked for may be there. */
  end(): void {
    const extra = Object.keys(this.#fields).find((name) => !this.#read.has(name));
    if (extra !== undefined) throw new MdError("E_VALUE", `${this.#method}: unknown parameter ${quoted(extra)}`);
  }

  #take(name: string): unknown {
    this.#read.add(name);
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
  }

  #text(name: string, value: unknown): string {
    if (typeof value !== "string") return this.#refuse(name, "a string");
    if (value.length > MAX_TEXT) return this.#refuse(name, `at most ${MAX_TEXT} characters long`);
    if (value.includes("\0")) return this.#refuse(name, "free of NUL characters");
    return value;
  }

  #count(name: string, value: unknown, least: number, most: number): number {
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
    return this.#refuse(name, `a whole number from ${least} to ${most}`);
  }

  #list(name: string): readonly unknown[] {
    const value = this.#take(name);
    if (!Array.isArray(value) || value.length > MAX_ITEMS) return this.#refuse(name, "a list");
    return value;
  }

  #refuse(name: string, wanted: string): never {
    throw new MdError("E_VALUE", `${this.#method}: ${name} is not ${wanted}`);
  }
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 40));
