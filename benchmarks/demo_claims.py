"""What has to hold of what `demo_browser.py` measures."""

from typing import Any

THINGS, SHOTS, OTHERS = 3, 3, 20


def held(document: dict[str, Any]) -> dict[str, bool]:
    """Each claim of the parts that were measured, and whether it holds."""
    found = {}
    if "draws" in document:
        rows = [row["file"] for row in document["draws"]["rows"]]
        features = [row["features"]["min_cosine"] for row in document["draws"]["rows"]]
        found |= {
            "at least as right as lowshot over all draws": document["draws"]["page_top1"]
            >= document["draws"]["lowshot_top1"],
            "features agree with PyTorch's": min(features) > 0.9999,
            "check keeps every bound of the file": all(not row["broken"] and row["same_weights"] for row in rows),
            "the file gives the page's answers": all(row["same_answers"] == THINGS * OTHERS for row in rows),
        }
    if "rule" in document:
        found["the rule is at least as right as lowshot's"] = (
            document["rule"]["nearest_prototype_top1"] >= document["rule"]["lowshot_top1"]
        )
    if "session" in document:
        row = document["session"]
        found["a session comes back to the bit"] = row["equal_to_the_bit"] == row["pictures"] > 0
        found["another model's session is refused and changes nothing"] = (
            "another model" in row["another_models"] and row["pictures_kept"] == SHOTS
        )
    if "kinds" in document:
        # What a browser reads in another way than PIL is stated by its figure.
        rows = document["kinds"].values()
        found["features agree for every kind of photograph"] = min(row["min_cosine"] for row in rows) > 0.9999
    if "situations" in document:
        found |= held_situations(document["situations"])
    if "network" in document:
        plain, https = document["network"]["plain http"], document["network"]["--https"]
        found["over plain http there is no camera, which is said, and pictures are taken"] = (
            not (plain["secure"] or plain["camera"]) and "https" in plain["said"] and plain["pictures"] == SHOTS
        )
        found["--https gives the camera and threads"] = (
            https["secure"] and https["isolated"] and https["camera"] and https["pictures"] == SHOTS
        )
    if "camera" in document:
        row = document["camera"]
        found["by the camera every photograph is named, far above chance"] = (
            row["photographs"] == THINGS * OTHERS and row["top1"] > 1.5 * 100 / THINGS
        )
        found["the terminal says that the camera is on"] = row["terminal"].endswith("camera on")
    return found


def held_situations(found: dict[str, Any]) -> dict[str, bool]:
    """What is said and done where something goes wrong."""
    two, large, lost = (found[word] for word in ("two phones at once", "fifty megapixels", "a lost connection"))
    first, second = found["the same photograph, taught in the other order"]
    taught = f"{THINGS} things, {THINGS * SHOTS} pictures"
    return {
        "two phones at once are told apart": len(two) == 2 and all(taught in line for line in two),
        "two phones give one answer": first + second == THINGS - 1,
        "a denied camera is said, and pictures are chosen": "was not allowed" in found["a denied camera"]
        and f"({SHOTS} pictures chosen" in found["a denied camera"],
        "a wrong token and none find nothing": found["a wrong token"] == found["no token"] == 404,
        "fifty megapixels give the features of PyTorch": large["answer_is_that_of_the_small_one"]
        and large["min_cosine"] > 0.9999,
        "what is no picture is said": "cannot be read as a picture" in found["no picture"],
        "a phone that leaves is said": found["a phone that leaves"].endswith("gone"),
        "without the computer the page answers and gives the file": "out of reach" in lost["said"]
        and lost["still_answers"]
        and lost["still_downloads"],
    }
