// Counts results of http-cache-tests by the kind of the test: node score.mjs FOLDER-OF-THE-TESTS RESULTS.json
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [folder, file] = process.argv.slice(2)
const load = async name => (await import(pathToFileURL(`${folder}/tests/${name}.mjs`))).default
const suites = [...await load('index'), await load('surrogate-control')]
const results = JSON.parse(readFileSync(file))

const kinds = { required: 'required', optimal: 'optional', check: 'informative' }
const tests = new Map(suites.flatMap(suite => suite.tests).filter(test => !test.browser_only).map(test => [test.id, test]))
// A test says something only where those that it builds on have passed.
const passes = id => results[id] === true && (tests.get(id)?.depends_on ?? []).every(passes)

for (const [kind, name] of Object.entries(kinds)) {
  const own = [...tests.values()].filter(test => (test.kind ?? 'required') === kind)
  const failed = own.filter(test => !passes(test.id))
  console.log(`${name}: ${own.length - failed.length} of ${own.length}`)
  for (const test of failed) {
    const result = results[test.id]
    const why = result === true ? `builds on ${test.depends_on}` : Array.isArray(result) ? result.join(': ') : 'not run'
    console.log(`    ${test.id} (${test.name}): ${why}`)
  }
}
