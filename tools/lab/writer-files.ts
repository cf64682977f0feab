/** By what a writer in a guest and who started it tell each other how far they are. */

/** The file that a writer makes when it has written for a while; whoever waits for it removes it. */
export function underWay(stopFile: string): string {
  return `${stopFile}-under-way`
}
