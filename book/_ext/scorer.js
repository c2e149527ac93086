// How Sphinx's search ranks what it finds: its own weights, but chapters stand before the glossary and in their order.
var Scorer = {
  score: ([docname, , , , score]) => {
    const chapter = docname.match(/^chapters\/0*(\d+)/);
    if (chapter) return score + 2 - chapter[1] / 10;
    return score + ({ use_it: 2, glossary: -20 }[docname] ?? 0);
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
