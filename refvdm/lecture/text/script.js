// The same symbol, in the formula and in the code of one box, lights up together.
const light = (event, on) => {
  const symbol = event.target.closest?.("[data-s]"), box = symbol?.closest(".eq");
  box?.querySelectorAll("[data-s]").forEach((other) => {
    if (other.dataset.s === symbol.dataset.s) other.classList.toggle("lit", on);
  });
};
document.addEventListener("pointerover", (event) => light(event, true));
document.addEventListener("pointerout", (event) => light(event, false));
// Contents: open beside the text, folded above it. Without a script they are open.
const wide = matchMedia("(min-width: 62rem)"), fold = document.querySelector("nav details");
const arrange = () => { fold.open = wide.matches; };
wide.addEventListener("change", arrange);
arrange();
// Contents: where one is.
const links = [...document.querySelectorAll("nav ol a")];
const places = links.map((link) => document.getElementById(link.hash.slice(1)));
const mark = () => {
  const here = places.findLastIndex((place) => place.getBoundingClientRect().top < innerHeight / 3);
  links.forEach((link, i) => {
    if (i === here) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  });
};
addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });
mark();
