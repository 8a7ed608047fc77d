/**
 * Keeps nodes from doing the same membership work at the same moment: giving slots out, declaring a member dead. Advice
 * and nothing more: `run` does its work also when the section cannot be had, and the work itself compares what it found
 * with what is there (docs/decisions/0011-redlock.md).
 */
export interface CriticalSection {
  run<T>(name: string, work: () => Promise<T>): Promise<T>;
}
