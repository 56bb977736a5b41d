// Folds the controls on a phone, where they would push the article off the screen: as they are read, before what comes
// below them is laid out.
document.querySelector(".moment-fold").open = !matchMedia("(max-width: 40rem)").matches;
