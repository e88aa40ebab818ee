<<<<<<< mine
HOST="vc1.example.com";
=======
HOST="vc2.example.com";
>>>>>>> theirs
USERNAME="backup";
