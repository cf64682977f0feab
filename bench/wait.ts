/** Waits for what takes a while: asks until the answer is good, and gives it. Throws Error with the last answer when it takes longer than `limitMs`. */
export async function waitFor<T>(claim: string, ask: () => Promise<T>, good: (answer: T) => boolean, { limitMs = 300_000, everyMs = 100 }: { readonly limitMs?: number; readonly everyMs?: number } = {}): Promise<T> {
  const end = performance.now() + limitMs
  for (;;) {
    const answer = await ask()
    if (good(answer)) return answer
    if (performance.now() > end) throw new Error(`not within ${limitMs / 1000} s: ${claim}; it is ${typeof answer === 'string' ? answer.trim() : JSON.stringify(answer)}`)
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}
