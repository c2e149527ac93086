// How Sphinx's search ranks what it finds: its own weights; then pages whose title has all the words come first, chapters
// stand in their order, and a meaning in the glossary follows them.
const asked = (new URLSearchParams(location.search).get("q") || "").toLowerCase().split(/\s+/);
var Scorer = {
  score: ([docname, title, , , score]) => {
    if (docname === "glossary") return Math.min(score, 7);
    const chapter = (docname.match(/^chapters\/0*(\d+)/) || [])[1];
    const named = asked.every((word) => title.toLowerCase().includes(word)) ? 10 : 0;
    return score + named + (chapter ? 2 - chapter / 10 : docname === "use_it" ? 2 : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
